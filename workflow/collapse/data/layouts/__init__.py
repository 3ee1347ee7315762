"""File formats of data sets, one module each: official files in, images and labels out.

Each has ``read(wanted, files)``: of a data set and its files' contents, decompressed, by name, it
returns the training and the test samples, in the files' order, or raises ``SourceError`` where a
file has not the format or the size that it must have. A data set names the function of its files.
"""
