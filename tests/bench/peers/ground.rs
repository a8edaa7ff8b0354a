//! Filesystems with room for huge files on a machine that has none, made for the time of a bench by whoever is root.

use super::tools::done;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What keeps the bytes of a ground.
enum Store {
    /// The filesystem that the folder is on.
    Here,
    /// A sparse image on it.
    Image,
    /// A compressed disk in memory of this number: zeros take none.
    Memory(String),
}

/// A folder with room for a huge file; gone when this is dropped.
pub struct Ground {
    folder: PathBuf,
    store: Store,
}

impl Ground {
    /// Room for a file of `gib` of which little is written: below `disk`, else in a sparse image there.
    pub fn sparse(disk: &Path, gib: u64) -> Result<Self, String> {
        let folder = disk.join("huge");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        if room(&folder)? > (gib + 1) << 30 {
            return Ok(Self { folder, store: Store::Here });
        }
        let image = disk.join("huge.img");
        let file = File::create(&image).map_err(|e| e.to_string())?;
        file.set_len((gib + gib / 8 + 8) << 30).map_err(|e| format!("no sparse image of that size: {e}"))?;
        format(&image)?;
        done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder))?;
        Ok(Self { folder, store: Store::Image })
    }

    /// Room for a file of `gib` that is all zeros and all of it written: a disk in memory that keeps zeros for nothing.
    pub fn zeros(disk: &Path, gib: u64) -> Result<Self, String> {
        let folder = disk.join("zeros");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let number = fs::read_to_string("/sys/class/zram-control/hot_add").map_err(|e| format!("no zram: {e}"))?;
        let ground = Self { folder, store: Store::Memory(number.trim().into()) };
        let device = format!("zram{}", number.trim());
        fs::write(format!("/sys/block/{device}/disksize"), format!("{}G", gib + gib / 8 + 1))
            .map_err(|e| e.to_string())?;
        let device = Path::new("/dev").join(device);
        format(&device)?;
        done(Command::new("mount").arg(&device).arg(&ground.folder))?;
        Ok(ground)
    }

    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !matches!(self.store, Store::Here) {
            let _ = done(Command::new("umount").arg(&self.folder));
        }
        if let Store::Memory(number) = &self.store {
            let _ = fs::write(format!("/sys/block/zram{number}/reset"), "1");
            let _ = fs::write("/sys/class/zram-control/hot_remove", number);
        }
    }
}

/// The bytes that are free for a file in this folder.
pub fn room(folder: &Path) -> Result<u64, String> {
    rustix::fs::statvfs(folder).map(|room| room.f_bavail * room.f_frsize).map_err(|e| e.to_string())
}

fn format(at: &Path) -> Result<(), String> {
    let lazy = ["-F", "-q", "-m0", "-Tlargefile4", "-O^has_journal", "-Elazy_itable_init=1,nodiscard"];
    done(Command::new("mkfs.ext4").args(lazy).arg(at))
}
