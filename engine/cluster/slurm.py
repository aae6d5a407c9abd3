"""A batch script for Slurm: a Ray on the machines of the job, one command, and the way back into the queue."""

from __future__ import annotations

import shlex

from engine.cluster.conf import ClusterConf
from engine.cluster.request import Request

WARNING = 180  # seconds before its time is up in which a job ends its epoch, and is queued again

SCRIPT = """\
set -euo pipefail
{setup}
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
# A token of this run. srun hands it to the other machines; it is in no file, no argument and no log.
RAY_AUTH_TOKEN=$(od -An -vtx1 -N32 /dev/urandom | tr -d ' \\n')
export RAY_AUTH_TOKEN
unset RAY_AUTH_TOKEN_PATH

port=$((20000 + SLURM_JOB_ID % 20000))
start=(ray start --num-cpus={cpus}{gpus} --temp-dir="/tmp/ray-$SLURM_JOB_ID" --disable-usage-stats --block)
step=(srun --overlap --ntasks-per-node=1 --cpus-per-task={cpus} --kill-on-bad-exit=0)
rays=()
if [ "$SLURM_JOB_NUM_NODES" -eq 1 ]; then
  export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0  # a Ray for one machine: every port is on loopback
  ip=127.0.0.1
else
  ip=$(getent ahostsv4 "$SLURMD_NODENAME" | awk '$1 !~ /^127\\./ {{print $1; exit}}')
fi
"${{step[@]}}" --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" \\
  "${{start[@]}}" --head --node-ip-address="$ip" --port="$port" --include-dashboard=false &
rays+=($!)
tries=0
until (exec 3<>"/dev/tcp/$ip/$port") 2>/dev/null; do
  sleep 1
  if [ $((tries += 1)) -ge 120 ]; then
    echo "Ray did not start on $SLURMD_NODENAME within two minutes" >&2
    exit 1
  fi
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  others=$((SLURM_JOB_NUM_NODES - 1))
  "${{step[@]}}" --nodes="$others" --ntasks="$others" --exclude="$SLURMD_NODENAME" \\
    "${{start[@]}}" --address="$ip:$port" &
  rays+=($!)
fi

export RAY_ADDRESS="$ip:$port"
{command} &
main=$!
told=0
again=0
tell() {{ told=1; kill -TERM "$main" 2>/dev/null || true; }}
trap 'again=1; tell' USR1  # the time is nearly up
trap 'tell' TERM           # taken away: Slurm queues the job again itself
code=0
while :; do                # a trap ends `wait` before the command has ended
  told=0
  now=0
  wait "$main" || now=$?
  [ "$now" -eq 127 ] || code=$now
  [ "$told" -eq 1 ] || break
done
if [ "$again" -eq 1 ] && [ "$code" -eq 130 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
kill "${{rays[@]}}" 2>/dev/null || true
wait "${{rays[@]}}" || true
exit "$code"
"""


def script(request: Request) -> str:
    """What `sbatch` takes. The same command goes on where it was interrupted, on whatever machines it gets."""
    conf = request.conf
    setup = [*conf.setup, *(f"export {name}={shlex.quote(value)}" for name, value in conf.env.items())]
    body = SCRIPT.format(
        setup="\n".join(setup),
        cpus=conf.cpus,
        gpus=f" --num-gpus={conf.gpus}" if conf.gpus else "",
        command=request.entrypoint,
    )
    return "\n".join(["#!/bin/bash", *(f"#SBATCH --{line}" for line in _asked(request.name, conf)), body])


def _asked(name: str, conf: ClusterConf) -> list[str]:
    asked = [
        f"job-name={name}",
        "dependency=singleton",  # the same command twice runs one after the other
        f"nodes={conf.nodes}",
        "ntasks-per-node=1",
        f"cpus-per-task={conf.cpus}",
        f"mem={conf.memory.removesuffix('i')}",
        f"time={conf.time}",
        "requeue",
        "open-mode=append",
        f"signal=B:USR1@{WARNING}",
    ]
    asked += [f"gpus-per-node={conf.gpus}"] if conf.gpus else []
    asked += [f"partition={conf.partition}"] if conf.partition else []
    return asked + ([f"account={conf.account}"] if conf.account else [])
