"""Measurements that anyone can repeat: side by side in one run, told as ratios with their spread."""
