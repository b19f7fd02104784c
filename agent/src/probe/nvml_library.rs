//! NVIDIA's management library, opened at run time: the few functions that are asked, by hand.
//!
//! Signatures and numbers are those of NVIDIA's NVML API Reference; the library keeps them for ever and gives
//! a changed function a new name. `nvml-wrapper` would bring a macro crate and the whole API for these
//! sixteen, and does not link with the static agent.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt;
use std::ptr::NonNull;

use super::shared_library::{SharedLibrary, shown};

const SUCCESS: c_int = 0;
const ERROR_INVALID_ARGUMENT: c_int = 2;
const ERROR_NOT_SUPPORTED: c_int = 3;
const ERROR_INSUFFICIENT_SIZE: c_int = 7;
/// `NVML_MEMORY_ERROR_TYPE_UNCORRECTED` and `NVML_VOLATILE_ECC`.
const UNCORRECTED: c_uint = 1;
const SINCE_DRIVER_LOADED: c_uint = 0;
/// `NVML_TEMPERATURE_GPU`.
const TEMPERATURE_GPU: c_uint = 0;
/// Room for a text; the longest that the library gives has 96 bytes.
const TEXT_BYTES: usize = 128;

/// `nvmlDevice_t`.
type Handle = *mut c_void;

/// `nvmlEccSramErrorStatus_v1_t`.
#[repr(C)]
#[derive(Default)]
struct SramErrorStatus {
    version: c_uint,
    counts: [c_ulonglong; 11],
    threshold_exceeded: c_uint,
}

/// `NVML_STRUCT_VERSION(EccSramErrorStatus, 1)`: the size, and the number of the version above it.
const SRAM_ERROR_STATUS_VERSION: c_uint = size_of::<SramErrorStatus>() as c_uint | 1 << 24;

/// Why the library did not answer a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    function: &'static str,
    /// The library's code and its words; none if this version lacks the function.
    said: Option<(c_int, String)>,
}

impl Refused {
    /// The GPU does not have what was asked for.
    #[must_use]
    pub fn is_not_supported(&self) -> bool {
        self.said.as_ref().is_some_and(|(code, _)| *code == ERROR_NOT_SUPPORTED)
    }

    /// There is no link of this number.
    #[must_use]
    pub fn is_invalid_argument(&self) -> bool {
        self.said.as_ref().is_some_and(|(code, _)| *code == ERROR_INVALID_ARGUMENT)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some((code, words)) => write!(f, "{}: {words} (NVML error {code})", self.function),
            None => write!(f, "the installed NVML has no {}; a newer driver has", self.function),
        }
    }
}

/// The library, opened and initialised; closed when it goes.
#[derive(Debug)]
pub struct Library {
    opened: SharedLibrary,
}

impl Library {
    /// Opens and initialises it.
    ///
    /// # Errors
    /// In words: this agent opens no libraries, there is none, or the driver refuses.
    pub fn open(name: &str) -> Result<Self, String> {
        const NAME: &CStr = c"nvmlInit_v2";
        let opened = SharedLibrary::open(name, "NVML")?;
        let function = symbol(&opened, NAME).map_err(|refused| refused.to_string())?;
        // SAFETY: this is the signature of the function of this name.
        let code = unsafe {
            let function: unsafe extern "C" fn() -> c_int = std::mem::transmute(function.as_ptr());
            function()
        };
        checked(&opened, NAME, code).map_err(|refused| refused.to_string())?;
        Ok(Self { opened })
    }

    /// The GPU at a PCI address.
    ///
    /// # Errors
    /// Where the library knows none there, or has lost it.
    pub fn device(&self, address: &str) -> Result<Device<'_>, Refused> {
        const NAME: &CStr = c"nvmlDeviceGetHandleByPciBusId_v2";
        let text = CString::new(address).map_err(|error| Refused {
            function: shown(NAME),
            said: Some((ERROR_INVALID_ARGUMENT, error.to_string())),
        })?;
        let mut handle: Handle = std::ptr::null_mut();
        let function = symbol(&self.opened, NAME)?;
        // SAFETY: this is the signature of the function of this name; the text ends with a zero, and both
        // pointers are to live values for the call.
        let code = unsafe {
            let function: unsafe extern "C" fn(*const c_char, *mut Handle) -> c_int =
                std::mem::transmute(function.as_ptr());
            function(text.as_ptr(), &raw mut handle)
        };
        checked(&self.opened, NAME, code)?;
        Ok(Device { library: self, handle })
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if let Ok(function) = symbol(&self.opened, c"nvmlShutdown") {
            // SAFETY: this is the signature of the function of this name, and the library is initialised.
            unsafe {
                let function: unsafe extern "C" fn() -> c_int = std::mem::transmute(function.as_ptr());
                function();
            }
        }
    }
}

/// One GPU.
#[derive(Debug)]
pub struct Device<'a> {
    library: &'a Library,
    handle: Handle,
}

/// What was remapped in a GPU's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemappedRows {
    /// Rows remapped for errors that could not be corrected.
    pub uncorrectable: u32,
    /// A row is to be remapped at the next reset.
    pub pending: bool,
    /// A row could not be remapped.
    pub failed: bool,
}

/// Each may be refused: see [`Refused`].
#[allow(clippy::missing_errors_doc)] // the same for all of them, said above
impl Device<'_> {
    /// Product name.
    pub fn name(&self) -> Result<String, Refused> {
        self.text(c"nvmlDeviceGetName")
    }

    /// UUID.
    pub fn uuid(&self) -> Result<String, Refused> {
        self.text(c"nvmlDeviceGetUUID")
    }

    /// Version of the VBIOS.
    pub fn firmware_version(&self) -> Result<String, Refused> {
        self.text(c"nvmlDeviceGetVbiosVersion")
    }

    /// What was remapped.
    pub fn remapped_rows(&self) -> Result<RemappedRows, Refused> {
        let [mut corrected, mut uncorrectable, mut pending, mut failed] = [0; 4];
        self.ask(c"nvmlDeviceGetRemappedRows", |function| {
            type Function =
                unsafe extern "C" fn(Handle, *mut c_uint, *mut c_uint, *mut c_uint, *mut c_uint) -> c_int;
            // SAFETY: this is the signature of the function of this name, and all pointers are to live values.
            unsafe {
                let function: Function = std::mem::transmute(function);
                function(
                    self.handle,
                    &raw mut corrected,
                    &raw mut uncorrectable,
                    &raw mut pending,
                    &raw mut failed,
                )
            }
        })?;
        Ok(RemappedRows { uncorrectable, pending: pending != 0, failed: failed != 0 })
    }

    /// Whether SRAM errors crossed the maker's threshold.
    pub fn sram_threshold_exceeded(&self) -> Result<bool, Refused> {
        let mut status = SramErrorStatus { version: SRAM_ERROR_STATUS_VERSION, ..SramErrorStatus::default() };
        self.ask(c"nvmlDeviceGetSramEccErrorStatus", |function| {
            // SAFETY: this is the signature of the function of this name; the structure is the one whose size
            // and version stand in its first field.
            unsafe {
                let function: unsafe extern "C" fn(Handle, *mut SramErrorStatus) -> c_int =
                    std::mem::transmute(function);
                function(self.handle, &raw mut status)
            }
        })?;
        Ok(status.threshold_exceeded != 0)
    }

    /// Uncorrected ECC errors since the driver was loaded.
    pub fn uncorrected_errors(&self) -> Result<u64, Refused> {
        let mut count: c_ulonglong = 0;
        self.ask(c"nvmlDeviceGetTotalEccErrors", |function| {
            // SAFETY: this is the signature of the function of this name, and the pointer is to a live value.
            unsafe {
                let function: unsafe extern "C" fn(Handle, c_uint, c_uint, *mut c_ulonglong) -> c_int =
                    std::mem::transmute(function);
                function(self.handle, UNCORRECTED, SINCE_DRIVER_LOADED, &raw mut count)
            }
        })?;
        Ok(count)
    }

    /// Why the clocks are what they are, a bit for each reason. Older drivers call them throttle reasons.
    pub fn clocks_event_reasons(&self) -> Result<u64, Refused> {
        let mut reasons: c_ulonglong = 0;
        let mut ask = |name| {
            self.ask(name, |function| {
                // SAFETY: both functions have this signature, and the pointer is to a live value.
                unsafe {
                    let function: unsafe extern "C" fn(Handle, *mut c_ulonglong) -> c_int =
                        std::mem::transmute(function);
                    function(self.handle, &raw mut reasons)
                }
            })
        };
        match ask(c"nvmlDeviceGetCurrentClocksEventReasons") {
            Err(Refused { said: None, .. }) => ask(c"nvmlDeviceGetCurrentClocksThrottleReasons")?,
            asked => asked?,
        }
        Ok(reasons)
    }

    /// Temperature of the chip, in degrees Celsius.
    pub fn temperature_celsius(&self) -> Result<u32, Refused> {
        self.number(c"nvmlDeviceGetTemperature", TEMPERATURE_GPU)
    }

    /// Whether an NVLink is up.
    pub fn is_nvlink_up(&self, link: u32) -> Result<bool, Refused> {
        Ok(self.number(c"nvmlDeviceGetNvLinkState", link)? != 0)
    }

    /// How many processes compute on it. None is told at once; where there are some the library wants room for
    /// them, and says how much.
    pub fn computing_processes(&self) -> Result<u32, Refused> {
        const NEWEST: &CStr = c"nvmlDeviceGetComputeRunningProcesses_v3";
        let mut count: c_uint = 0;
        let mut ask = |name| {
            self.ask(name, |function| {
                type Function = unsafe extern "C" fn(Handle, *mut c_uint, *mut c_void) -> c_int;
                // SAFETY: all versions have this signature but for what the last pointer is to, and with a count
                // of none nothing is written there.
                unsafe {
                    let function: Function = std::mem::transmute(function);
                    function(self.handle, &raw mut count, std::ptr::null_mut())
                }
            })
        };
        let asked = match ask(NEWEST) {
            Err(Refused { said: None, .. }) => ask(c"nvmlDeviceGetComputeRunningProcesses"),
            asked => asked,
        };
        match asked {
            Err(Refused { said: Some((ERROR_INSUFFICIENT_SIZE, _)), .. }) => Ok(count.max(1)),
            Err(refused) => Err(refused),
            Ok(()) => Ok(count),
        }
    }

    /// A counter of an NVLink.
    pub fn nvlink_errors(&self, link: u32, counter: u32) -> Result<u64, Refused> {
        let mut count: c_ulonglong = 0;
        self.ask(c"nvmlDeviceGetNvLinkErrorCounter", |function| {
            // SAFETY: this is the signature of the function of this name, and the pointer is to a live value.
            unsafe {
                let function: unsafe extern "C" fn(Handle, c_uint, c_uint, *mut c_ulonglong) -> c_int =
                    std::mem::transmute(function);
                function(self.handle, link, counter, &raw mut count)
            }
        })?;
        Ok(count)
    }

    /// A function that takes a number and gives one.
    fn number(&self, name: &'static CStr, of: c_uint) -> Result<u32, Refused> {
        let mut number: c_uint = 0;
        self.ask(name, |function| {
            // SAFETY: all functions that this is called with have this signature, and the pointer is to a
            // live value.
            unsafe {
                let function: unsafe extern "C" fn(Handle, c_uint, *mut c_uint) -> c_int =
                    std::mem::transmute(function);
                function(self.handle, of, &raw mut number)
            }
        })?;
        Ok(number)
    }

    /// A function that gives a text, as it may be shown: without control characters.
    fn text(&self, name: &'static CStr) -> Result<String, Refused> {
        let mut bytes = [0_u8; TEXT_BYTES];
        self.ask(name, |function| {
            // SAFETY: all functions that this is called with have this signature; the length is that of the
            // buffer less one, so that its last byte stays zero whatever is written.
            unsafe {
                let function: unsafe extern "C" fn(Handle, *mut c_char, c_uint) -> c_int =
                    std::mem::transmute(function);
                function(self.handle, bytes.as_mut_ptr().cast(), TEXT_BYTES as c_uint - 1)
            }
        })?;
        let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default().to_string_lossy().into_owned();
        Ok(text.chars().filter(|c| !c.is_control()).collect())
    }

    fn ask(&self, name: &'static CStr, call: impl FnOnce(*mut c_void) -> c_int) -> Result<(), Refused> {
        let function = symbol(&self.library.opened, name)?;
        checked(&self.library.opened, name, call(function.as_ptr()))
    }
}

/// A function of the library.
fn symbol(opened: &SharedLibrary, name: &'static CStr) -> Result<NonNull<c_void>, Refused> {
    opened.function(name).ok_or(Refused { function: shown(name), said: None })
}

fn checked(opened: &SharedLibrary, name: &'static CStr, code: c_int) -> Result<(), Refused> {
    if code == SUCCESS {
        return Ok(());
    }
    let words = symbol(opened, c"nvmlErrorString").ok().and_then(|function| {
        // SAFETY: this is the signature of the function of this name; what it gives is a constant text of
        // the library's or nothing, and it is copied while the library is open.
        unsafe {
            let function: unsafe extern "C" fn(c_int) -> *const c_char =
                std::mem::transmute(function.as_ptr());
            let text = function(code);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    });
    let words = words.unwrap_or_else(|| "refused".to_owned());
    Err(Refused { function: shown(name), said: Some((code, words)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_library_s_layout() {
        assert_eq!(size_of::<SramErrorStatus>(), 104);
        assert_eq!(std::mem::offset_of!(SramErrorStatus, threshold_exceeded), 96);
        assert_eq!(SRAM_ERROR_STATUS_VERSION, 0x0100_0068);
    }

    #[test]
    fn what_is_no_library_is_said_by_name() {
        let error = Library::open("libnvidia-ml-of-nobody.so.1").unwrap_err();
        assert!(error.contains("libnvidia-ml-of-nobody.so.1"), "{error}");
        assert!(Library::open("a\0b").is_err());
        // A library, and not this one.
        let error = Library::open("libc.so.6").unwrap_err();
        assert!(error.contains("nvmlInit_v2"), "{error}");
    }
}
