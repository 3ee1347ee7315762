"""stub"""
from collapse.studies import Study
STUDY = Study(paper="A toy", objective="none", figures={}, axes=(), claims_read=())
