"""What a node tells of itself: metrics, traces, logs; each imported by its file, since a device needs none of them."""
