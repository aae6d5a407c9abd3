"""What a metric is made of: pure functions from sufficient statistics to values, over leading axes."""
