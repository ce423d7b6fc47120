// An input of a step's only row that is rounded already.
@group(1) @binding(1) var<storage, read> act: array<vec4<u32>>;
