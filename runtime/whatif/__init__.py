"""What if: recorded requests again, under another policy or on another testbed, and how sure the difference is."""
