"""What TensorBoard shows besides curves: attention, rankings, the projector."""
