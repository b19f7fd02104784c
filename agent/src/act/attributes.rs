//! Extended attributes of one file, read and put back.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use imaging::attributes::{
    AttributeValue, CAPABILITY, ExtendedAttribute, GRANTING, VALUE_BYTES_MAX, is_compared,
};
use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr, lremovexattr,
    lsetxattr,
};
use rustix::io::Errno;

/// The longest list of names (`XATTR_LIST_MAX` of `linux/limits.h`).
const LIST_BYTES_MAX: usize = 65_536;

/// Most files have few names.
const LIST_BYTES_USUAL: usize = 1024;

/// What has the attributes.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// A file or folder, opened.
    Opened(BorrowedFd<'a>),
    /// Whatever has this name in this folder; a symbolic link is not followed.
    Named(BorrowedFd<'a>, &'a str),
}

impl Place<'_> {
    /// The kernel has no calls that take a folder and a name, but shows every open folder in `/proc`.
    fn path(folder: BorrowedFd<'_>, name: &str) -> String {
        format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())
    }

    fn list(self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Opened(file) => flistxattr(file, buffer),
            Self::Named(folder, name) => llistxattr(Self::path(folder, name), buffer),
        }
    }

    fn get(self, attribute: &str, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Opened(file) => fgetxattr(file, attribute, buffer),
            Self::Named(folder, name) => lgetxattr(Self::path(folder, name), attribute, buffer),
        }
    }

    fn set(self, attribute: &ExtendedAttribute) -> rustix::io::Result<()> {
        let (name, value, flags) = (attribute.name.as_str(), &attribute.value.0, XattrFlags::empty());
        match self {
            Self::Opened(file) => fsetxattr(file, name, value, flags),
            Self::Named(folder, link) => lsetxattr(Self::path(folder, link), name, value, flags),
        }
    }

    fn remove(self, attribute: &str) -> rustix::io::Result<()> {
        match self {
            Self::Opened(file) => fremovexattr(file, attribute),
            Self::Named(folder, name) => lremovexattr(Self::path(folder, name), attribute),
        }
    }
}

/// The attributes that are compared with what the image has: those that it has, and those that grant
/// rights.
///
/// # Errors
/// When they cannot be read. A file system without attributes has none.
pub fn compared_of(place: Place<'_>, expected: &[ExtendedAttribute]) -> io::Result<Vec<ExtendedAttribute>> {
    let mut found = Vec::new();
    for name in names(place)? {
        if is_compared(expected, &name)
            && let Some(value) = value(place, &name)?
        {
            found.push(ExtendedAttribute { name, value: AttributeValue(value) });
        }
    }
    Ok(found)
}

fn names(place: Place<'_>) -> io::Result<Vec<String>> {
    let mut list = [0; LIST_BYTES_USUAL];
    match place.list(&mut list) {
        Ok(length) => Ok(split(&list[..length])),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(Errno::RANGE) => {
            let mut list = vec![0; LIST_BYTES_MAX];
            let length = place.list(&mut list)?;
            Ok(split(&list[..length]))
        }
        Err(error) => Err(error.into()),
    }
}

/// Names that are not UTF-8 are in no manifest and grant nothing.
fn split(list: &[u8]) -> Vec<String> {
    list.split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| String::from_utf8(name.to_vec()).ok())
        .collect()
}

/// None if it has gone since it was listed.
fn value(place: Place<'_>, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; LIST_BYTES_USUAL];
    loop {
        match place.get(name, &mut value) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < VALUE_BYTES_MAX => value.resize(VALUE_BYTES_MAX, 0),
            Err(Errno::NODATA) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the attributes that the image has, and takes those away that grant rights and that it does
/// not have. Owner and mode come first: changing the owner takes capabilities away, and an access
/// list and the mode are kept in step by the kernel.
///
/// # Errors
/// When the file system does not take one of them.
pub fn put_back(place: Place<'_>, wanted: &[ExtendedAttribute]) -> io::Result<()> {
    for name in names(place)? {
        let unwanted =
            GRANTING.contains(&name.as_str()) && wanted.iter().all(|attribute| attribute.name != name);
        match if unwanted { place.remove(&name) } else { Ok(()) } {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => return Err(failed("take", &name, error)),
        }
    }
    let (last, first): (Vec<_>, Vec<_>) = wanted.iter().partition(|attribute| attribute.name == CAPABILITY);
    for attribute in first.into_iter().chain(last) {
        place.set(attribute).map_err(|error| failed("give", &attribute.name, error))?;
    }
    Ok(())
}

fn failed(operation: &str, name: &str, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("could not {operation} the attribute {name}: {error}"))
}
