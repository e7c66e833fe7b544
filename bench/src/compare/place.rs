//! Where a contender listens, what is behind it, and where its files are.

use std::path::Path;

/// Of one round.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// For its files.
    pub folder: &'a Path,
    /// Of 127.0.0.1.
    pub port: u16,
    /// Of the origin, on 127.0.0.1.
    pub origin: u16,
}

impl Place<'_> {
    /// Writes a file with `@DIR@`, `@PROXY@` and `@ORIGIN@` filled in, and returns its path for the shell.
    pub fn write(&self, file: &str, template: &str) -> Result<String, String> {
        let text = template
            .replace("@DIR@", &self.folder.display().to_string())
            .replace("@PROXY@", &self.port.to_string())
            .replace("@ORIGIN@", &self.origin.to_string());
        let path = self.folder.join(file);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(quoted(&path))
    }
}

/// For the shell.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
