"""Policy: numbers and duties of law, by jurisdiction and date, each with the article it rests on.

Rules elsewhere read values from here and never hold a legal number themselves. A jurisdiction without
rows of its own is judged by the strictest row, that of ``*``.
"""
