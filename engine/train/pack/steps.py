"""Steps of a network of dense layers in compiled code, many in one call: rows to loss, gradients and AdamW.

A batch goes through in blocks of rows, so that what its layers give stays in the cache of a core; the products are
those of torch's library (blas.py), and what lies between them is one pass over a block. Every activation is kept as
what it gives and as its slope, dropout included, so that the way back is the same for all of them. Exponentials are of
float32: a polynomial of degree 6 and a power of two (Cephes, expf; 2 units in the last place).

Shape letters: N rows, S steps, L layers, P numeric and Q categorical features, C outputs. No number is checked beside
codes and classes: what is not finite stays so, and is the loss.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from engine.train.pack.adam import descend
from engine.train.pack.blas import backward, descent, forward
from engine.train.pack.masks import drop, keep

F = np.float32
ZERO, ONE, HALF = F(0), F(1), F(0.5)
LOW, HIGH, PER_LOG2 = F(-87.0), F(88.0), F(1.44269504)
LOG2_UPPER, LOG2_LOWER = F(0.693359375), F(-2.12194440e-4)
P5, P4, P3, P2, P1 = F(1.9875691500e-4), F(1.3981999507e-3), F(8.3334519073e-3), F(4.1665795894e-2), F(1.6666665459e-1)
BIAS, FRACTION = np.int32(127), np.int32(23)  # of a float32
NONE, SILU, RELU = 0, 1, 2  # activations
BINARY, MULTICLASS, REGRESSION = 0, 1, 2  # tasks
BLOCK = 128  # rows that go through the network at a time
WIDE, MORE = 128, 256  # of a network with wider layers: fewer would read its weights too often


class Rows(NamedTuple):
    """numeric (N, P) float32, categorical (N, Q) int64; the target is `values` (N,) float32 or `classes` (N,) int64,
    the other has no rows. `order` (N,) int32 of an epoch; step i takes the rows order[bounds[i] : bounds[i + 1]].
    """

    numeric: np.ndarray
    categorical: np.ndarray
    values: np.ndarray
    classes: np.ndarray
    order: np.ndarray
    bounds: np.ndarray


class Net(NamedTuple):
    """Layer i has wides[i] inputs, wides[i + 1] outputs, and its weight and bias at these places of a flat vector.

    least, scales: of its dropout: the least 16 bits that are kept, and the factor of these; where it drops nothing
    `least` is LEAST. table: where the embedding lies, rows and columns; offsets (Q,): the first row of each feature.
    block: rows that go through it at a time.
    """

    wides: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    kinds: np.ndarray
    least: np.ndarray
    scales: np.ndarray
    table: np.ndarray
    offsets: np.ndarray
    task: int
    mean: float
    scale: float
    block: int


class Room(NamedTuple):
    """Scratch of one thread. Of flat float32 `numbers` layer i has what it is given at given[i], what it gives at
    given[i + 1] and its slopes at slopes[i]; kept: what dropout keeps of a whole batch (masks.py), of layer i from
    masks[i] on.
    """

    numbers: np.ndarray
    given: np.ndarray
    slopes: np.ndarray
    kept: np.ndarray
    masks: np.ndarray
    sizes: np.ndarray


LEAST = -32_768


@njit(cache=True, nogil=True, error_model="numpy")
def take(begin, end, rows, net, room, weights, moments, gradient, numbers, stream, losses):
    """Take the steps from `begin` to `end` of an epoch: weights (n,) and moments (2, n), flat, move on.

    numbers (S, 9): of AdamW (adam.py). stream: the state of the generator of its dropout; moves on. losses (S,) float64
    are set. gradient (n,) is left as of the last step. Gives the step that is next: `end`, or an earlier one where a
    row of it has a category or a class that the network has not.
    """
    for step in range(begin, end):
        start = rows.bounds[step]
        count = rows.bounds[step + 1] - start
        _draw(count, net, room, stream)
        gradient[:] = ZERO
        loss = 0.0
        blocks = (count + net.block - 1) // net.block
        size = (count + blocks - 1) // blocks
        for first in range(0, count, size):
            order = rows.order[start + first : start + min(first + size, count)]
            if not (_known(order, rows, net) and _gather(order, rows, net, room, weights)):
                return step
            _forward(first, order.size, net, room, weights)
            loss += _loss(order, rows, net, room, count)
            _backward(order, rows, net, room, weights, gradient)
        losses[step] = loss / count
        descend(weights, moments[0], moments[1], gradient, numbers[step])
    return end


@njit(cache=True, nogil=True, error_model="numpy")
def ask(rows, net, room, weights, outputs):
    """Set outputs (N, C) float32 to what a network that drops nothing gives of all rows, in their order.

    Gives N, or the first row of a block that has a category which the network has not.
    """
    count, flat = outputs.shape[0], outputs.reshape(-1)
    for first in range(0, count, net.block):
        order = np.arange(first, min(first + net.block, count)).astype(np.int32)
        if not _gather(order, rows, net, room, weights):
            return first
        _forward(0, order.size, net, room, weights)
        found = flat[first * outputs.shape[1] :][: order.size * outputs.shape[1]]
        found[:] = room.numbers[room.given[-1] :][: found.size]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _known(order, rows, net):
    """Has the network an output for each of these rows' classes."""
    known = True
    if net.task == MULTICLASS:
        for row in order:
            known = known and 0 <= rows.classes[row] < net.wides[-1]
    return known


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(count, net, room, stream):
    """What the dropout of a whole batch keeps, layer by layer: in the order in which it is drawn alone."""
    for i in range(net.kinds.size):
        if net.least[i] > LEAST:
            keep(stream, np.int16(net.least[i]), room.kept[room.masks[i] :], count * net.wides[i + 1])


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(order, rows, net, room, weights):
    """The rows of a block: numbers, and embedded categories beside them. False where a category is unknown."""
    wide, numeric, categories = net.wides[0], rows.numeric.shape[1], rows.categorical.shape[1]
    place, size, columns = net.table
    table = weights[place:][: size * columns]
    x = room.numbers[room.given[0] :][: order.size * wide]
    for r in range(order.size):
        row = x[r * wide :][:wide]
        row[:numeric] = rows.numeric[order[r]]
        for q in range(categories):
            code = rows.categorical[order[r], q] + net.offsets[q]
            if code < 0 or code >= size:
                return False
            row[numeric + q * columns :][:columns] = table[code * columns :][:columns]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(first, count, net, room, weights):
    """A block, whose first row is row `first` of its batch, through all layers."""
    for i in range(net.kinds.size):
        wide, high = net.wides[i], net.wides[i + 1]
        given, out = room.numbers[room.given[i] :], room.numbers[room.given[i + 1] :][: count * high]
        forward(given, weights[net.weights[i] :], out, count, wide, high, room.sizes)
        bias, drops = weights[net.biases[i] :][:high], net.least[i] > LEAST
        kept = room.kept[room.masks[i] :]
        for r in range(count):
            row, slope = out[r * high :][:high], room.numbers[room.slopes[i] + r * high :][:high]
            if net.kinds[i] == SILU:
                _silu(row, bias, slope)
            elif net.kinds[i] == RELU:
                _relu(row, bias, slope)
            else:
                row += bias
                slope[:] = ONE
            if drops:
                drop(row, net.scales[i], kept, (first + r) * high)
                drop(slope, net.scales[i], kept, (first + r) * high)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def exp(x):
    """Of a float32 number; beyond the range of float32 its largest and smallest normal values, nearly."""
    x = LOW if x < LOW else x  # not by min and max: what is no number stays none
    x = HIGH if x > HIGH else x
    n = np.floor(x * PER_LOG2 + HALF)
    r = (x - n * LOG2_UPPER) - n * LOG2_LOWER
    y = P5
    y = y * r + P4
    y = y * r + P3
    y = y * r + P2
    y = y * r + P1
    y = y * r + HALF
    y = y * (r * r) + r + ONE
    return y * np.int32((np.int32(n) + BIAS) << FRACTION).view(np.float32)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _silu(row, bias, slope):
    """x sigmoid(x), in place of sums without their bias, and its slope."""
    for i in range(row.size):
        x = row[i] + bias[i]
        share = ONE / (ONE + exp(-x))
        row[i] = x * share
        slope[i] = share * (ONE + x * (ONE - share))


@njit(cache=True, nogil=True, error_model="numpy")
def _relu(row, bias, slope):
    """As torch has it: what is no number stays none."""
    for i in range(row.size):
        x = row[i] + bias[i]
        row[i] = ZERO if x <= ZERO else x
        slope[i] = ZERO if x <= ZERO else ONE


@njit(cache=True, nogil=True, error_model="numpy")
def _backward(order, rows, net, room, weights, gradient):
    """From the slope of the loss, where the outputs lay, to the gradients of all parameters, which are added to."""
    count, wide = order.size, net.wides[0]
    for i in range(net.kinds.size - 1, -1, -1):
        below, high = net.wides[i], net.wides[i + 1]
        found, slopes = room.numbers[room.given[i + 1] :][: count * high], room.numbers[room.slopes[i] :]
        bias = gradient[net.biases[i] :][:high]
        for r in range(count):
            _through(found[r * high :][:high], slopes[r * high :][:high], bias)
        given = room.numbers[room.given[i] :]
        descent(found, given, gradient[net.weights[i] :], count, below, high, room.sizes)
        if i:
            backward(found, weights[net.weights[i] :], given, count, below, high, below, room.sizes)
        elif rows.categorical.shape[1]:  # of the embedded columns alone
            left = rows.numeric.shape[1]
            after = weights[net.weights[0] + left :]
            backward(found, after, given[left:], count, wide, high, wide - left, room.sizes)
            _scatter(order, rows, net, given, gradient)


@njit(cache=True, nogil=True, error_model="numpy")
def _through(found, slope, bias):
    """Through an activation, in place; and the gradient of the bias."""
    for i in range(found.size):
        found[i] *= slope[i]
        bias[i] += found[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter(order, rows, net, given, gradient):
    """Gradients of the embedded columns of a block to their rows of the table."""
    wide, left = net.wides[0], rows.numeric.shape[1]
    place, size, columns = net.table
    table = gradient[place:][: size * columns]
    for r in range(order.size):
        for q in range(rows.categorical.shape[1]):
            code = rows.categorical[order[r], q] + net.offsets[q]
            into, found = table[code * columns :][:columns], given[r * wide + left + q * columns :][:columns]
            for i in range(columns):
                into[i] += found[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _loss(order, rows, net, room, count):
    """The sum of the losses of a block, and their slopes for a mean over `count` rows in place of the outputs.

    Formulas as of torch: binary cross-entropy of a logit, cross-entropy, Huber's in units of the target's scale.
    """
    outputs, share = net.wides[-1], F(1.0 / count)
    out = room.numbers[room.given[-1] :][: order.size * outputs]
    total = 0.0
    for r in range(order.size):
        if net.task == MULTICLASS:
            total += _cross_entropy(out[r * outputs :][:outputs], rows.classes[order[r]], share)
            continue
        x, goal = out[r], rows.values[order[r]]
        if net.task == BINARY:
            small = exp(-abs(x))  # of the larger side, so that nothing overflows
            total += max(x, ZERO) - x * goal + math.log1p(small)
            out[r] = ((ONE if x >= ZERO else small) / (ONE + small) - goal) * share
        else:
            scale, mean = F(net.scale), F(net.mean)
            gap = (x * scale + mean) / scale - goal / scale
            size = abs(gap)
            total += HALF * size * size if size < ONE else size - HALF
            out[r] = (-ONE if gap < -ONE else ONE if gap > ONE else gap) * share
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _cross_entropy(out, label, share):
    most = out[0]
    for value in out:
        most = max(most, value)
    loss = most - out[label]
    total = ZERO
    for c in range(out.size):
        out[c] = exp(out[c] - most)
        total += out[c]
    for c in range(out.size):
        out[c] = (out[c] / total - (ONE if c == label else ZERO)) * share
    return loss + math.log(total)
