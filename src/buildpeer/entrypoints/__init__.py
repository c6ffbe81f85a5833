"""The processes: api, worker, cli and the functions. They put the parts together and hold no business."""
