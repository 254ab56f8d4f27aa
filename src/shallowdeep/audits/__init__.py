"""What audits find, as plain data: security and workflows make it, runs keep it in files, and the report shows it.

These dataclasses have a layer of their own because the report, which lies below security, shows them too.
"""
