"""From a bundle's weights to TensorRT plans. The one package of the build step that imports TensorRT."""
