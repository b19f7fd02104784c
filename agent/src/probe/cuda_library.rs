//! NVIDIA's CUDA driver library, opened at run time: the few functions that a test of a GPU needs, by hand.
//!
//! Signatures and numbers are those of NVIDIA's CUDA Driver API Reference; as with NVML the library keeps them for
//! ever. A context belongs to the thread that made it, so nothing here goes to another one.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{NonNull, null_mut};

use super::shared_library::{SharedLibrary, shown};

const SUCCESS: c_int = 0;
const ERROR_INVALID_VALUE: c_int = 1;
const ERROR_OUT_OF_MEMORY: c_int = 2;
const ERROR_ECC_UNCORRECTABLE: c_int = 214;

/// `CUcontext`, `CUmodule` and `CUfunction`.
type Handle = *mut c_void;
/// `CUdeviceptr`.
type Address = u64;

/// Why the library did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    function: &'static str,
    /// The library's code and its name; none if this version lacks the function.
    said: Option<(c_int, String)>,
}

impl Refused {
    /// The GPU's memory lost something that it could not correct.
    #[must_use]
    pub fn is_uncorrectable_memory(&self) -> bool {
        self.is(ERROR_ECC_UNCORRECTABLE)
    }

    /// There is not so much memory left.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.is(ERROR_OUT_OF_MEMORY)
    }

    fn is(&self, wanted: c_int) -> bool {
        self.said.as_ref().is_some_and(|(code, _)| *code == wanted)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some((code, name)) => write!(f, "{}: {name} (CUDA error {code})", self.function),
            None => write!(f, "the installed CUDA driver has no {}; a newer one has", self.function),
        }
    }
}

/// Calls a function of the library by its name, and gives the library's refusal if it has one.
macro_rules! call {
    ($library:expr, $name:literal, fn($($type:ty),*), $($argument:expr),*) => {{
        let library: &Library = $library;
        let function = library.function($name)?;
        // SAFETY: each use has the signature of the function of this name, and its pointers are to values that
        // live until it returns.
        let code = unsafe {
            let function: unsafe extern "C" fn($($type),*) -> c_int = std::mem::transmute(function.as_ptr());
            function($($argument),*)
        };
        library.checked($name, code)
    }};
}

/// The library, opened and initialised. It has threads of its own, and stays until the process ends.
#[derive(Debug)]
pub struct Library {
    opened: SharedLibrary,
}

/// Each may be refused: see [`Refused`].
#[allow(clippy::missing_errors_doc)] // the same for all of them, said above
impl Library {
    /// Opens and initialises it; the reason is in words: this agent opens no libraries, there is none, or the
    /// driver refuses.
    pub fn open(name: &str) -> Result<Self, String> {
        let library = Self { opened: SharedLibrary::open_for_good(name, "the CUDA driver library")? };
        library.initialise().map_err(|refused| refused.to_string())?;
        Ok(library)
    }

    fn initialise(&self) -> Result<(), Refused> {
        call!(self, c"cuInit", fn(c_uint), 0)
    }

    /// Makes the GPU at a PCI address this thread's, until what is returned goes.
    pub fn context(&self, address: &str) -> Result<Context<'_>, Refused> {
        let text = CString::new(address).map_err(|error| Refused {
            function: "cuDeviceGetByPCIBusId",
            said: Some((ERROR_INVALID_VALUE, error.to_string())),
        })?;
        let mut device: c_int = 0;
        type ByAddress = *const c_char;
        call!(self, c"cuDeviceGetByPCIBusId", fn(*mut c_int, ByAddress), &raw mut device, text.as_ptr())?;
        let mut handle: Handle = null_mut();
        call!(self, c"cuDevicePrimaryCtxRetain", fn(*mut Handle, c_int), &raw mut handle, device)?;
        let context = Context { library: self, device };
        call!(self, c"cuCtxSetCurrent", fn(Handle), handle)?;
        Ok(context)
    }

    fn function(&self, name: &'static CStr) -> Result<NonNull<c_void>, Refused> {
        self.opened.function(name).ok_or(Refused { function: shown(name), said: None })
    }

    fn checked(&self, name: &'static CStr, code: c_int) -> Result<(), Refused> {
        if code == SUCCESS {
            return Ok(());
        }
        let said = self.name_of(code).unwrap_or_else(|| "refused".to_owned());
        Err(Refused { function: shown(name), said: Some((code, said)) })
    }

    fn name_of(&self, code: c_int) -> Option<String> {
        let function = self.opened.function(c"cuGetErrorName")?;
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: this is the signature of the function of this name; what it gives is a constant text of the
        // library's or nothing, and it is copied while the library is open.
        unsafe {
            let function: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int =
                std::mem::transmute(function.as_ptr());
            function(code, &raw mut text);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }
}

/// A GPU that is this thread's.
#[derive(Debug)]
pub struct Context<'a> {
    library: &'a Library,
    device: c_int,
}

/// Each may be refused: see [`Refused`].
#[allow(clippy::missing_errors_doc)] // the same for all of them, said above
impl Context<'_> {
    /// How much of its memory is free.
    pub fn free_bytes(&self) -> Result<u64, Refused> {
        let (mut free, mut total): (usize, usize) = (0, 0);
        type Bytes = *mut usize;
        call!(self.library, c"cuMemGetInfo_v2", fn(Bytes, Bytes), &raw mut free, &raw mut total)?;
        Ok(free as u64)
    }

    /// Takes some of its memory, until what is returned goes.
    pub fn allocate(&self, bytes: usize) -> Result<Memory<'_>, Refused> {
        let mut address: Address = 0;
        call!(self.library, c"cuMemAlloc_v2", fn(*mut Address, usize), &raw mut address, bytes)?;
        Ok(Memory { context: self, address, bytes })
    }

    /// Has the driver compile a text of kernels.
    pub fn load(&self, text: &CStr) -> Result<Module<'_>, Refused> {
        let mut handle: Handle = null_mut();
        type Text = *const c_void;
        let text: Text = text.as_ptr().cast();
        call!(self.library, c"cuModuleLoadData", fn(*mut Handle, Text), &raw mut handle, text)?;
        Ok(Module { context: self, handle })
    }

    /// Waits until everything that was launched is done.
    pub fn synchronize(&self) -> Result<(), Refused> {
        call!(self.library, c"cuCtxSynchronize", fn(),)
    }

    fn release(&self) -> Result<(), Refused> {
        let detached = call!(self.library, c"cuCtxSetCurrent", fn(Handle), null_mut());
        call!(self.library, c"cuDevicePrimaryCtxRelease_v2", fn(c_int), self.device)?;
        detached
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if let Err(refused) = self.release() {
            tracing::debug!("{refused}");
        }
    }
}

/// Some of a GPU's memory.
#[derive(Debug)]
pub struct Memory<'a> {
    context: &'a Context<'a>,
    address: Address,
    bytes: usize,
}

/// Each may be refused: see [`Refused`].
#[allow(clippy::missing_errors_doc)] // the same for all of them, said above
impl Memory<'_> {
    /// Where it is, as kernels are told.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How many words it has.
    #[must_use]
    pub fn words(&self) -> usize {
        self.bytes / size_of::<u64>()
    }

    /// Sets all of it to zero.
    pub fn clear(&self) -> Result<(), Refused> {
        let count = self.bytes / size_of::<u32>();
        call!(self.context.library, c"cuMemsetD32_v2", fn(Address, c_uint, usize), self.address, 0, count)
    }

    /// Copies its first words out.
    pub fn copy_to(&self, words: &mut [u64]) -> Result<(), Refused> {
        let bytes = size_of_val(words).min(self.bytes);
        let to: *mut c_void = words.as_mut_ptr().cast();
        call!(
            self.context.library,
            c"cuMemcpyDtoH_v2",
            fn(*mut c_void, Address, usize),
            to,
            self.address,
            bytes
        )
    }

    fn free(&self) -> Result<(), Refused> {
        call!(self.context.library, c"cuMemFree_v2", fn(Address), self.address)
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        if let Err(refused) = self.free() {
            tracing::debug!("{refused}");
        }
    }
}

/// Kernels that were compiled.
#[derive(Debug)]
pub struct Module<'a> {
    context: &'a Context<'a>,
    handle: Handle,
}

impl Module<'_> {
    /// One of them.
    ///
    /// # Errors
    /// If the text has none of this name.
    pub fn kernel(&self, name: &CStr) -> Result<Kernel<'_>, Refused> {
        let (library, mut handle): (_, Handle) = (self.context.library, null_mut());
        type Name = *const c_char;
        type Found = *mut Handle;
        let found = &raw mut handle;
        call!(library, c"cuModuleGetFunction", fn(Found, Handle, Name), found, self.handle, name.as_ptr())?;
        Ok(Kernel { module: self, handle })
    }

    fn unload(&self) -> Result<(), Refused> {
        call!(self.context.library, c"cuModuleUnload", fn(Handle), self.handle)
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        if let Err(refused) = self.unload() {
            tracing::debug!("{refused}");
        }
    }
}

/// A kernel.
#[derive(Debug)]
pub struct Kernel<'a> {
    module: &'a Module<'a>,
    handle: Handle,
}

impl Kernel<'_> {
    /// Starts it with so many blocks of so many threads. All its parameters are 64 bits wide, and there are as
    /// many as are given here.
    ///
    /// # Errors
    /// If the driver refuses; what goes wrong later is said by [`Context::synchronize`].
    pub fn launch(&self, blocks: u32, threads: u32, mut parameters: Vec<u64>) -> Result<(), Refused> {
        type Places = *mut *mut c_void;
        let mut places: Vec<*mut c_void> = parameters.iter_mut().map(|one| (&raw mut *one).cast()).collect();
        call!(
            self.module.context.library,
            c"cuLaunchKernel",
            fn(Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, Places, Places),
            self.handle,
            blocks,
            1,
            1,
            threads,
            1,
            1,
            0,
            null_mut(),
            places.as_mut_ptr(),
            null_mut()
        )
    }
}
