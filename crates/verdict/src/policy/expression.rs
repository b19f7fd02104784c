//! Expressions of the operator's rules: CEL, cut down to what is bounded and cannot surprise.
//!
//! What may stand in one is a list of what is allowed, checked when the policy is read. So an expression
//! cannot run long (its size, its depth, its loops and what they run over are bounded), cannot ask for what
//! there is not, and cannot make anything up.

use std::collections::BTreeSet;

use cel::common::ast::operators;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr};
use cel::parser::PrattParser;
use cel::{Context, ExecutionError, Value};
use contract::reading::ReadingKey;

use super::error::{nearest, suggestion};

/// Limits of one expression.
const CHARACTERS_MAX: usize = 1000;
const DEPTH_MAX: u16 = 24;
const NODES_MAX: usize = 300;
/// A loop in a loop: over readings, and over the items of one of them.
const LOOPS_MAX: usize = 2;
const LIST_MAX: usize = 64;
/// How many readings a loop runs over at most, and how many items one of them may have.
pub(crate) const ITEMS_MAX: usize = 256;

/// What is known of the run besides its readings.
pub(crate) const OF_EVIDENCE: [&str; 3] = ["age_seconds", "tier", "trust"];
/// What is known of the node.
pub(crate) const OF_NODE: [&str; 9] =
    ["cpu_count", "image", "memory_bytes", "pool", "product", "protected", "serial", "tenant", "vendor"];
/// What a reading has.
pub(crate) const OF_READING: [&str; 3] = ["kind", "subject", "value"];

const FUNCTIONS: [&str; 22] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::NOT_STRICTLY_FALSE,
    operators::IN,
    "size",
    "contains",
    "startsWith",
    "endsWith",
];

/// An expression that may be asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    parsed: IdedExpr,
    names: BTreeSet<String>,
    tested: BTreeSet<String>,
}

/// Why an expression is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadExpression {
    pub problem: String,
    pub suggestion: Option<String>,
}

impl BadExpression {
    fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), suggestion: None }
    }
}

/// What an expression gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// Something that it needs is not known, in words.
    Unknown(String),
}

impl Expression {
    /// Reads an expression and checks that everything in it is allowed and known.
    pub fn parse(text: &str) -> Result<Self, BadExpression> {
        let characters = text.chars().count();
        if characters == 0 || characters > CHARACTERS_MAX {
            return Err(BadExpression::new(format!("use 1 to {CHARACTERS_MAX} characters")));
        }
        let parser = PrattParser::new()
            .max_recursion_depth(DEPTH_MAX)
            .max_expression_node_count(NODES_MAX)
            .error_recovery_limit(1)
            .error_reporting_limit(1);
        let parsed = parser.parse(text).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.as_str()).unwrap_or_default();
            let first: String = first.chars().filter(|c| !c.is_control()).take(160).collect();
            BadExpression::new(format!("is no expression: {first}"))
        })?;
        let mut check = Check { nodes: 0, names: BTreeSet::new(), tested: BTreeSet::new() };
        check.expression(&parsed, &Scope { bound: &[], loops: 0 }, 0)?;
        Ok(Self { parsed, names: check.names, tested: check.tested })
    }

    /// What of `evidence` and `node` it looks at, such as `evidence.nvme_media_errors`.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Those of them that it asks with `has(…)` whether they are there.
    pub fn tested(&self) -> &BTreeSet<String> {
        &self.tested
    }

    /// Asks. `variables` are `evidence`, `node` and `now`; what is not known is left out of them.
    pub fn ask(&self, variables: Vec<(&str, Value)>) -> Answer {
        let mut context = Context::default();
        for (name, value) in variables {
            context.add_variable_from_value(name, value);
        }
        match Value::resolve(&self.parsed, &context) {
            Ok(Value::Bool(true)) => Answer::Yes,
            Ok(Value::Bool(false)) => Answer::No,
            Ok(_) => Answer::Unknown("the expression says neither yes nor no".to_owned()),
            Err(ExecutionError::NoSuchKey(name)) => Answer::Unknown(format!("{name} is not known")),
            Err(_) => Answer::Unknown("the expression does not fit what was read".to_owned()),
        }
    }
}

/// What is bound where an expression stands.
#[derive(Clone, Copy)]
struct Scope<'a> {
    bound: &'a [&'a str],
    loops: usize,
}

struct Check {
    nodes: usize,
    names: BTreeSet<String>,
    tested: BTreeSet<String>,
}

impl Check {
    fn expression(&mut self, of: &IdedExpr, scope: &Scope<'_>, depth: u16) -> Result<(), BadExpression> {
        self.nodes += 1;
        // Loops are several levels deep inside, so this allows more than the parser.
        if self.nodes > NODES_MAX || depth > 3 * DEPTH_MAX {
            return Err(BadExpression::new("is too long or too deep; make several rules of it"));
        }
        let depth = depth + 1;
        match &of.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => Err(BadExpression::new("has bytes; use a text")),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) if name == "now" || scope.bound.contains(&name.as_str()) => Ok(()),
            Expr::Ident(name) if name == "evidence" || name == "node" => {
                Err(BadExpression::new(format!("{name} alone says nothing; say {name}.NAME")))
            }
            Expr::Ident(name) => Err(unknown(name, ["evidence", "node", "now"].into_iter())),
            Expr::Select(select) => self.select(select, scope, depth),
            Expr::Call(call) => self.call(call, scope, depth),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, scope, depth),
            Expr::List(list) if list.elements.len() <= LIST_MAX && list.optional_indices.is_empty() => {
                list.elements.iter().try_for_each(|element| self.expression(element, scope, depth))
            }
            Expr::List(_) => Err(BadExpression::new(format!("has a list of more than {LIST_MAX}"))),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(BadExpression::new("makes a map, which no rule needs"))
            }
        }
    }

    fn select(&mut self, select: &SelectExpr, scope: &Scope<'_>, depth: u16) -> Result<(), BadExpression> {
        let field = select.field.as_str();
        match &select.operand.expr {
            Expr::Ident(of) if of == "evidence" && !scope.bound.contains(&of.as_str()) => {
                if !OF_EVIDENCE.contains(&field) {
                    reading_key(field)?;
                }
                self.name(format!("evidence.{field}"), select.test);
                Ok(())
            }
            Expr::Ident(of) if of == "node" && !scope.bound.contains(&of.as_str()) => {
                if !OF_NODE.contains(&field) {
                    return Err(unknown(field, OF_NODE.into_iter()));
                }
                self.name(format!("node.{field}"), select.test);
                Ok(())
            }
            Expr::Ident(of) if !scope.bound.contains(&of.as_str()) => {
                Err(unknown(of, ["evidence", "node"].into_iter()))
            }
            _ if !OF_READING.contains(&field) => Err(unknown(field, OF_READING.into_iter())),
            _ => self.expression(&select.operand, scope, depth),
        }
    }

    fn name(&mut self, name: String, test: bool) {
        if test {
            self.tested.insert(name.clone());
        }
        self.names.insert(name);
    }

    fn call(&mut self, call: &CallExpr, scope: &Scope<'_>, depth: u16) -> Result<(), BadExpression> {
        let name = call.func_name.as_str();
        if !FUNCTIONS.contains(&name) {
            let known = ["size", "contains", "startsWith", "endsWith", "all", "exists", "filter", "has"];
            return Err(unknown(name, known.into_iter()));
        }
        call.target.iter().try_for_each(|target| self.expression(target, scope, depth))?;
        call.args.iter().try_for_each(|argument| self.expression(argument, scope, depth))
    }

    fn comprehension(
        &mut self,
        of: &ComprehensionExpr,
        scope: &Scope<'_>,
        depth: u16,
    ) -> Result<(), BadExpression> {
        if scope.loops >= LOOPS_MAX {
            return Err(BadExpression::new(format!("has more than {LOOPS_MAX} loops in each other")));
        }
        self.expression(&of.iter_range, scope, depth)?;
        // A reading is a map, which gives its names in another order each time: agent and service would differ.
        if !matches!(of.iter_range.expr, Expr::Select(_) | Expr::List(_) | Expr::Comprehension(_)) {
            return Err(BadExpression::new(
                "has a loop over neither the readings of a key, a value that is a list, nor a list",
            ));
        }
        self.expression(&of.accu_init, scope, depth)?;
        let mut bound = scope.bound.to_vec();
        bound.extend([of.iter_var.as_str(), of.accu_var.as_str()]);
        bound.extend(of.iter_var2.as_deref());
        let inside = Scope { bound: &bound, loops: scope.loops + 1 };
        [&of.loop_cond, &of.loop_step, &of.result]
            .into_iter()
            .try_for_each(|part| self.expression(part, &inside, depth))
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> BadExpression {
    let shown: String = name.chars().take(80).collect();
    let suggestion = nearest(name, known).map(str::to_owned);
    BadExpression { problem: format!("unknown name {shown:?}"), suggestion }
}

/// The reading that a name means: its key with underscores instead of hyphens, as CEL wants names.
pub(crate) fn reading_key(name: &str) -> Result<ReadingKey, BadExpression> {
    let hyphens = if name.contains('-') { "?".to_owned() } else { name.replace('_', "-") };
    serde_json::from_value(serde_json::Value::String(hyphens)).map_err(|error| {
        let shown: String = name.chars().take(80).collect();
        let of_reading = suggestion(&error.to_string()).map(|name| name.replace('-', "_"));
        let of_evidence = nearest(name, OF_EVIDENCE.into_iter()).map(str::to_owned);
        BadExpression {
            problem: format!("unknown name \"evidence.{shown}\""),
            suggestion: of_reading.or(of_evidence),
        }
    })
}

#[cfg(test)]
mod tests;
