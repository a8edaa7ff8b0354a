"""blueimp's Django package behind its two routes, with the least settings it asks for.
Arguments: a folder for the files, the port."""
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.utils import translation

# The package was written for a Django that still had this name.
translation.ugettext = translation.gettext

folder, port = Path(sys.argv[1]), sys.argv[2]
settings.configure(
    DEBUG=True, SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[],
    MEDIA_ROOT=str(folder / "media"),
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db")}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "chunked_upload"],
    USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField", DATA_UPLOAD_MAX_MEMORY_SIZE=None,
)
django.setup()
from chunked_upload.models import ChunkedUpload  # noqa: E402
from chunked_upload.views import ChunkedUploadCompleteView, ChunkedUploadView  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


def states(_):
    """Of each upload its name, its state (2 is complete) and its file, a line each."""
    uploads = ChunkedUpload.objects.order_by("created_on")
    return HttpResponse("".join(f"{one.filename} {one.status} {one.file.path}\n" for one in uploads))


urlpatterns = [
    path("up", csrf_exempt(ChunkedUploadView.as_view())),
    path("up/complete/", csrf_exempt(ChunkedUploadCompleteView.as_view())),
    path("states", states),
]
if __name__ == "__main__":
    call_command("migrate", verbosity=0, run_syncdb=True)
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False)
