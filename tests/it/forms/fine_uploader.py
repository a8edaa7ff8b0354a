"""Fine Uploader's Django package behind a route, with the least settings it asks for.
Arguments: a folder for the files, the port."""
import builtins
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.urls import path

# The package was written for Python 2: it counts with xrange, and opens files for bytes without saying so.
builtins.xrange = range


class Storage(FileSystemStorage):
    def _open(self, name, mode="rb"):
        return super()._open(name, mode if "b" in mode else mode + "b")


sys.modules["fine_uploader"] = sys.modules[__name__]
folder, port = Path(sys.argv[1]), sys.argv[2]
settings.configure(
    DEBUG=True, SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MEDIA_ROOT=str(folder / "media"),
    INSTALLED_APPS=["django_fine_uploader"], MIDDLEWARE=[], FU_FILE_STORAGE="fine_uploader.Storage",
)
django.setup()
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from django_fine_uploader.views import FineUploaderView  # noqa: E402

urlpatterns = [path("fine", csrf_exempt(FineUploaderView.as_view()))]
if __name__ == "__main__":
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False)
