//! A shared library that is opened at run time, by hand: a driver brings it along, and most machines have none.
//!
//! The agent in the ramdisk is linked statically and cannot open any.

use std::ffi::{CStr, CString, c_void};
use std::ptr::NonNull;

use nix::libc;

/// Whether this agent can open libraries at all.
const CAN_OPEN: bool = cfg!(all(target_env = "gnu", not(target_feature = "crt-static")));

/// A library that is open; closed when it goes, unless it was opened for good.
#[derive(Debug)]
pub struct SharedLibrary {
    opened: NonNull<c_void>,
}

impl SharedLibrary {
    /// Opens the library of this name or path, which is `called` so for people.
    ///
    /// # Errors
    /// In words: this agent opens no libraries, or there is none.
    pub fn open(name: &str, called: &str) -> Result<Self, String> {
        Self::open_with(name, called, 0)
    }

    /// As [`SharedLibrary::open`], for a library that has threads of its own or is not written to be closed: it
    /// stays until the process ends.
    ///
    /// # Errors
    /// As there.
    pub fn open_for_good(name: &str, called: &str) -> Result<Self, String> {
        Self::open_with(name, called, libc::RTLD_NODELETE)
    }

    fn open_with(name: &str, called: &str, flags: i32) -> Result<Self, String> {
        if !CAN_OPEN {
            return Err(format!("the static agent cannot load {called}; the packaged one can"));
        }
        let path = CString::new(name).map_err(|error| format!("{name:?}: {error}"))?;
        // SAFETY: the path is a live text that ends with a zero. What the library does when it is loaded is
        // the driver's own; it is the one that every program for the GPU loads.
        let opened = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | flags) };
        let opened = NonNull::new(opened).ok_or_else(|| format!("cannot load {name}: {}", loader_error()))?;
        Ok(Self { opened })
    }

    /// The function of this name, to be called with its own signature only while the library is open.
    #[must_use]
    pub fn function(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: the library is open as long as this lives, and the name ends with a zero.
        NonNull::new(unsafe { libc::dlsym(self.opened.as_ptr(), name.as_ptr()) })
    }
}

impl Drop for SharedLibrary {
    fn drop(&mut self) {
        // SAFETY: it is open, this was its last user, and nothing of it is kept: all texts were copied.
        unsafe { libc::dlclose(self.opened.as_ptr()) };
    }
}

/// What the loader has to say of its last failure.
fn loader_error() -> String {
    // SAFETY: the loader keeps the text for this thread until its next call here.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            "no reason given".to_owned()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

/// The name of a function for messages.
#[must_use]
pub fn shown(name: &'static CStr) -> &'static str {
    name.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_said_by_name_and_what_it_lacks_is_not_there() {
        let error = SharedLibrary::open("lib-of-nobody.so.1", "it").unwrap_err();
        assert!(error.contains("lib-of-nobody.so.1"), "{error}");
        assert!(SharedLibrary::open_for_good("a\0b", "it").is_err());
        let library = SharedLibrary::open("libc.so.6", "libc").unwrap();
        assert!(library.function(c"getpid").is_some());
        assert!(library.function(c"of_nobody").is_none());
    }
}
