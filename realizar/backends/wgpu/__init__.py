"""The wgpu backend: runs plans on a GPU through Vulkan, Metal or DX12, with kernels in WGSL (docs/gpu.md)."""
