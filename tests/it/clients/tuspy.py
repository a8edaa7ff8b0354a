"""Uploads one file by tuspy: `tuspy.py '{"endpoint", "file", "store", "chunk", "checksum"}'`. Prints a line of JSON:
from where on it sent, and how it ended."""
import json
import os
import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

told = json.loads(sys.argv[1])
client = TusClient(told["endpoint"])
uploader = client.uploader(
    told["file"],
    chunk_size=told["chunk"],
    metadata={"filename": os.path.basename(told["file"])},
    store_url=True,
    url_storage=FileStorage(told["store"]),
    upload_checksum=told["checksum"],
)
first = uploader.offset
try:
    uploader.upload()
except Exception as error:  # whatever it is, the test wants to read it
    print(json.dumps({"first": first, "error": repr(error)}))
    sys.exit(1)
print(json.dumps({"first": first, "url": uploader.url}))
