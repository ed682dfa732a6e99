"""The measurements that the README publishes: `python -m benchmarks.micrograd_demo`, from the root of the checkout."""
