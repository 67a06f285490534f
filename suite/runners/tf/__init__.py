"""TensorFlow's core: `tf.nn`, variables, fused training operations; sessions, eager, graphs and XLA.  Not Keras."""
