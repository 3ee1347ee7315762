"""x"""
from collapse.studies import Study
STUDY = Study(paper="x", objective="x", figures={}, axes=(), claims_read=())
