//! Numbers and lengths out of bytes that nobody vouches for: whatever runs past the end is refused.

/// What is left to read.
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

/// The bytes end before what they announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutOff;

impl<'a> Bytes<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], CutOff> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CutOff)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CutOff> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CutOff)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CutOff> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Big-endian, as the TPM counts.
    pub(crate) fn u16(&mut self) -> Result<u16, CutOff> {
        self.array().map(u16::from_be_bytes)
    }

    /// Big-endian, as the TPM counts.
    pub(crate) fn u32(&mut self) -> Result<u32, CutOff> {
        self.array().map(u32::from_be_bytes)
    }

    /// Little-endian, as the event log counts.
    pub(crate) fn u16_little(&mut self) -> Result<u16, CutOff> {
        self.array().map(u16::from_le_bytes)
    }

    /// Little-endian, as the event log counts.
    pub(crate) fn u32_little(&mut self) -> Result<u32, CutOff> {
        self.array().map(u32::from_le_bytes)
    }

    /// As many bytes as the 16 bits before them say (`TPM2B_*`).
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], CutOff> {
        let count = self.u16()?;
        self.take(usize::from(count))
    }
}
