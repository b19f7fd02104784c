//! The kernels' text, carried out word by word: what a GPU would do with it. It knows the instructions that are in
//! the text, and no others.

use std::collections::{BTreeMap, HashMap};

/// One word of a GPU's memory at each address.
pub type Words = BTreeMap<u64, u64>;

/// A kernel of a text.
pub struct Kernel<'a> {
    parameters: Vec<&'a str>,
    /// Instructions and labels, in their order.
    lines: Vec<&'a str>,
}

impl<'a> Kernel<'a> {
    pub fn of(text: &'a str, name: &str) -> Self {
        let (_, rest) = text.split_once(&format!(".entry {name}(")).unwrap();
        let (parameters, rest) = rest.split_once(')').unwrap();
        let body = &rest[rest.find('{').unwrap() + 1..rest.find("\n}").unwrap()];
        let lines = body.lines().map(|line| line.split("//").next().unwrap().trim());
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(".reg")).collect();
        let parameters = parameters.split(',').map(|one| one.split_whitespace().last().unwrap()).collect();
        Self { parameters, lines }
    }

    /// Runs all threads of all blocks, one after the other.
    pub fn run(&self, blocks: u64, threads: u64, values: &[u64], memory: &mut Words) {
        assert_eq!(self.parameters.len(), values.len());
        for block in 0..blocks {
            for thread in 0..threads {
                let special =
                    [("%ctaid.x", block), ("%ntid.x", threads), ("%tid.x", thread), ("%nctaid.x", blocks)];
                let parameters = self.parameters.iter().copied().zip(values.iter().copied());
                let registers = special.into_iter().chain(parameters).collect();
                self.run_thread(&mut Thread { registers, memory });
            }
        }
    }

    fn run_thread(&self, thread: &mut Thread<'a, '_>) {
        let mut at = 0;
        loop {
            let mut line = self.lines[at];
            at += 1;
            if line.ends_with(':') {
                continue;
            }
            if let Some(guarded) = line.strip_prefix('@') {
                let (guard, rest) = guarded.split_once(' ').unwrap();
                let (guard, wanted) = guard.strip_prefix('!').map_or((guard, 1), |guard| (guard, 0));
                if thread.registers[guard] != wanted {
                    continue;
                }
                line = rest;
            }
            let line = line.strip_suffix(';').unwrap();
            if line == "ret" {
                return;
            }
            let (instruction, operands) = line.split_once(' ').unwrap();
            if instruction == "bra" {
                at = self.lines.iter().position(|label| label.strip_suffix(':') == Some(operands)).unwrap();
                continue;
            }
            thread.step(instruction, operands);
        }
    }
}

struct Thread<'a, 'b> {
    registers: HashMap<&'a str, u64>,
    memory: &'b mut Words,
}

impl<'a> Thread<'a, '_> {
    fn step(&mut self, instruction: &str, operands: &'a str) {
        let operands: Vec<&str> = match operands.split_once(", {") {
            Some((to, pair)) => std::iter::once(to).chain(pair.trim_end_matches('}').split(", ")).collect(),
            None => operands.split(", ").collect(),
        };
        let (to, from) = (operands[0], &operands[1..]);
        let values: Vec<u64> = from.iter().map(|operand| self.value(operand)).collect();
        match instruction {
            "st.global.u64" => drop(self.memory.insert(self.address(to), values[0])),
            "red.global.add.u64" => {
                let address = self.address(to);
                let word = self.memory.entry(address).or_default();
                *word = word.wrapping_add(values[0]);
            }
            _ => drop(self.registers.insert(to, computed(instruction, &values))),
        }
    }

    fn address(&self, operand: &str) -> u64 {
        let inner = operand.trim_start_matches('[').trim_end_matches(']');
        let (base, offset) = inner.split_once('+').unwrap_or((inner, "0"));
        self.registers[base] + offset.parse::<u64>().unwrap()
    }

    fn value(&self, operand: &str) -> u64 {
        let hexadecimal = |prefix| {
            let digits = operand.strip_prefix(prefix)?;
            Some(u64::from_str_radix(digits, 16).unwrap())
        };
        match operand.parse() {
            Ok(number) => number,
            Err(_) if operand.starts_with('[') => {
                let named = operand.trim_matches(['[', ']']);
                // A parameter, or a word of the memory.
                if named.starts_with('%') {
                    self.memory[&self.address(operand)]
                } else {
                    self.registers[named]
                }
            }
            Err(_) => {
                let constant = ["0x", "0f", "0d"].into_iter().find_map(hexadecimal);
                constant.unwrap_or_else(|| self.registers[operand])
            }
        }
    }
}

/// What an instruction gives; numbers of 32 bits stand in the lower half.
fn computed(instruction: &str, values: &[u64]) -> u64 {
    let narrow = |at: usize| u32::try_from(values[at]).unwrap();
    let single = |at: usize| f32::from_bits(narrow(at));
    let double = |at: usize| f64::from_bits(values[at]);
    let first = values[0];
    match instruction {
        "ld.param.u64" | "cvta.to.global.u64" | "ld.volatile.global.u64" | "mov.u64" => first,
        "mov.b64" => values.get(1).map_or(first, |high| first | high << 32),
        "mov.u32" | "mov.b32" | "cvt.u64.u32" => narrow(0).into(),
        "cvt.u32.u64" => first & u64::from(u32::MAX),
        "and.b32" | "and.b64" => first & values[1],
        "or.b64" => first | values[1],
        "xor.b64" => first ^ values[1],
        "shl.b64" => first << values[1],
        "shr.u64" => first >> values[1],
        "add.u64" => first.wrapping_add(values[1]),
        "sub.u32" => narrow(0).wrapping_sub(narrow(1)).into(),
        "neg.s64" => first.wrapping_neg(),
        "mul.lo.u64" => first.wrapping_mul(values[1]),
        "mul.lo.u32" => narrow(0).wrapping_mul(narrow(1)).into(),
        "mul.wide.u32" => u64::from(narrow(0)) * u64::from(narrow(1)),
        "mad.lo.u32" => narrow(0).wrapping_mul(narrow(1)).wrapping_add(narrow(2)).into(),
        "setp.ne.u32" | "setp.ne.u64" => u64::from(first != values[1]),
        "setp.lt.u64" => u64::from(first < values[1]),
        "cvt.rn.f32.u32" => (narrow(0) as f32).to_bits().into(),
        "neg.f32" => (-single(0)).to_bits().into(),
        "mul.rn.f32" => (single(0) * single(1)).to_bits().into(),
        "fma.rn.f32" => single(0).mul_add(single(1), single(2)).to_bits().into(),
        "cvt.rn.f64.u32" => f64::from(narrow(0)).to_bits(),
        "neg.f64" => (-double(0)).to_bits(),
        "mul.rn.f64" => (double(0) * double(1)).to_bits(),
        "fma.rn.f64" => double(0).mul_add(double(1), double(2)).to_bits(),
        other => panic!("{other} is not known here"),
    }
}
