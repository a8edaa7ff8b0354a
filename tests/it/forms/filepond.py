"""FilePond's Django package behind its routes, with the least settings it asks for.
Arguments: a folder for the files, the port."""
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

folder, port = Path(sys.argv[1]), sys.argv[2]
settings.configure(
    DEBUG=True, SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[], BASE_DIR=str(folder),
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db")}},
    INSTALLED_APPS=[
        "django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "django_drf_filepond",
    ],
    DJANGO_DRF_FILEPOND_UPLOAD_TMP=str(folder / "tmp"), DJANGO_DRF_FILEPOND_FILE_STORE_PATH=str(folder / "store"),
    USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField", DATA_UPLOAD_MAX_MEMORY_SIZE=None,
)
django.setup()
from django.urls import include, path  # noqa: E402

urlpatterns = [path("fp/", include("django_drf_filepond.urls"))]
if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False)
