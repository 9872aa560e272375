"""Reports: a run's tables as one page that opens anywhere, and as a summary in a terminal."""

from reasonmech.report.page import render, report
from reasonmech.report.terminal import receipts, receipts_in_short, summary

__all__ = ["receipts", "receipts_in_short", "render", "report", "summary"]
