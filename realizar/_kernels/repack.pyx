"""Repacks rows of a file into planes of codes and scales for a GPU, without the GIL (src/repack.c)."""

import numpy as np

cdef extern from "realizar/repack.h" nogil:
    struct rz_repack:
        const char *name
        size_t block, w, high, scales
    const rz_repack rz_repacks[]
    const int rz_n_repacks
    size_t rz_plane_row(size_t n_block, size_t bytes)
    void rz_repack_rows(const rz_repack *format, const unsigned char *source, size_t stride, size_t n_row,
                        size_t n_block, unsigned char *w, unsigned char *high, unsigned char *scales)

cdef dict INDEX = {rz_repacks[i].name.decode(): i for i in range(rz_n_repacks)}
FORMATS = frozenset(INDEX)
"""The names of the formats that `repack` takes."""


def repack(const unsigned char[:, :] data not None, type_name):
    """Return rows of a file as planes.

    Parameters
    ----------
    data : uint8 [n_rows, row_bytes]
        The bytes of a row are contiguous.
    type_name : str
        One of FORMATS.

    Returns
    -------
    dict of str to uint8 [n_rows, plane_bytes]
        Planes w, high (if the format has one) and scales; rows are padded to whole words.

    Raises
    ------
    ValueError
        If the format is none of FORMATS, or rows are not whole blocks of contiguous bytes.
    """
    if type_name not in INDEX:
        raise ValueError(f"{type_name} is repacked by numpy only; here are {', '.join(sorted(FORMATS))}")
    cdef const rz_repack *form = &rz_repacks[<int> INDEX[type_name]]
    cdef size_t n_row = data.shape[0], n_block = data.shape[1] // form.block
    if data.strides[1] != 1 or n_block * form.block != <size_t> data.shape[1]:
        found = f"rows of {data.shape[1]} bytes, {data.strides[1]} apart"
        raise ValueError(f"{found}: must be whole blocks of {form.block} bytes, one after another")
    cdef unsigned char[:, ::1] w = np.empty((n_row, rz_plane_row(n_block, form.w)), np.uint8)
    cdef unsigned char[:, ::1] high = np.empty((n_row, rz_plane_row(n_block, form.high)), np.uint8)
    cdef unsigned char[:, ::1] scales = np.empty((n_row, rz_plane_row(n_block, form.scales)), np.uint8)
    if n_row and n_block:
        with nogil:
            rz_repack_rows(form, &data[0, 0], data.strides[0], n_row, n_block, &w[0, 0], &high[0, 0],
                           &scales[0, 0])
    planes = {"w": w.base}
    if form.high:
        planes["high"] = high.base
    planes["scales"] = scales.base
    return planes
