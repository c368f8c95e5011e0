"""Images and datasets: files, what a model sees of them, boxes, the manifest, splits and duplicates."""
