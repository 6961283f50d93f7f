//! Finds what can be replaced.

use std::collections::BTreeMap;
use std::ops::Range;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprMatch, ExprUnary, File, ImplItemFn,
    ItemConst, ItemFn, ItemImpl, ItemMod, ItemStatic, ItemTrait, Pat, Signature, TraitItemFn, Type,
    UnOp,
};

use crate::Order;
use crate::edits::{Edit, Form, Other};
use crate::values;

/// All that can be replaced in a file, apart from what the order leaves alone.
pub(crate) fn find(file: &str, source: &str, parsed: &File, order: &Order) -> Vec<Edit> {
    let mut finder = Finder {
        file,
        source,
        order,
        place: Vec::new(),
        names: BTreeMap::new(),
        edits: Vec::new(),
    };
    finder.visit_file(parsed);
    finder.edits
}

struct Finder<'a> {
    file: &'a str,
    source: &'a str,
    order: &'a Order,
    /// The types and functions around what is looked at.
    place: Vec<String>,
    /// How often each name was given.
    names: BTreeMap<String, usize>,
    edits: Vec<Edit>,
}

impl Finder<'_> {
    fn text(&self, of: Range<usize>) -> &str {
        &self.source[of]
    }

    /// A place with all that may stand there: what is done to it, and its text.
    fn edit(&mut self, at: Range<usize>, form: Form, others: Vec<(String, String)>) {
        let mut kept = Vec::new();
        for (what, text) in others {
            // It stands in a table.
            let name = format!("{} {}: {what}", self.file, self.place.join("::")).replace('|', "¦");
            let count = self.names.entry(name.clone()).or_default();
            *count += 1;
            let name = if *count == 1 {
                name
            } else {
                format!("{name} #{count}")
            };
            if !self.order.without.contains(&name) {
                kept.push(Other { name, text });
            }
        }
        if !kept.is_empty() {
            self.edits.push(Edit {
                at,
                form,
                others: kept,
            });
        }
    }

    fn function(&mut self, attrs: &[Attribute], signature: &Signature, block: &Block) {
        let name = signature.ident.to_string();
        if is_for_tests(attrs) || self.order.not_functions.contains(&name) {
            return;
        }
        let before = self.edits.len();
        let constness = signature.constness.map(|token| token.span().byte_range());
        self.place.push(name);
        let body = block.span().byte_range();
        if values::is_some_iterator(&signature.output) {
            let other = ("return nothing".to_owned(), String::new());
            if !returns(block) {
                self.edit(body, Form::Iterator, vec![other]);
            }
        } else if !block.stmts.is_empty() {
            let own = short(self.text(body.start + 1..body.end - 1));
            let others = values::of_return(&signature.output).into_iter();
            let others = others
                .filter(|value| *value != own)
                .map(|value| (format!("return {value}"), value))
                .collect();
            self.edit(body.start + 1..body.start + 1, Form::Return, others);
        }
        visit::visit_block(self, block);
        self.place.pop();
        if let Some(at) = constness
            && self.edits.len() > before
        {
            self.edits.push(Edit {
                at,
                form: Form::Gone,
                others: Vec::new(),
            });
        }
    }

    fn guard(&mut self, arm: &Arm, has_wildcard: bool) {
        match &arm.guard {
            Some((_, guard)) if !has_let(guard) => {
                let at = guard.span().byte_range();
                let pattern = short(self.text(arm.pat.span().byte_range()));
                let other = |holds: bool| {
                    (
                        format!("guard of `{pattern}` is {holds}"),
                        holds.to_string(),
                    )
                };
                self.edit(at, Form::Expression, vec![other(true), other(false)]);
            }
            Some(_) => {}
            None if has_wildcard && !matches!(arm.pat, Pat::Wild(_)) => {
                let at = arm.pat.span().byte_range();
                let name = format!("arm `{}` is not there", short(self.text(at.clone())));
                self.edit(at.end..at.end, Form::Arm, vec![(name, String::new())]);
            }
            None => {}
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if is_for_tests(&item.attrs) {
            return;
        }
        if let Some((_, of, _)) = &item.trait_ {
            let name = of.segments.last().map(|last| last.ident.to_string());
            if name.is_some_and(|name| self.order.not_of.contains(&name)) {
                return;
            }
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            other => Some(short(self.text(other.span().byte_range()))),
        };
        self.place.extend(name);
        visit::visit_item_impl(self, item);
        self.place.pop();
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.place.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.place.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
    }

    fn visit_item_const(&mut self, _: &'ast ItemConst) {}

    fn visit_item_static(&mut self, _: &'ast ItemStatic) {}

    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}

    // A type may have an expression within: a length.
    fn visit_type(&mut self, _: &'ast Type) {}

    fn visit_expr_binary(&mut self, expr: &'ast ExprBinary) {
        // `&&` with a `let` can be nothing else, and stands where it stands.
        if !has_let(&expr.left) && !has_let(&expr.right) {
            let at = expr.span().byte_range();
            let left = self.text(at.start..expr.op.span().byte_range().start);
            let right = self.text(expr.op.span().byte_range().end..at.end);
            let own = self.text(expr.op.span().byte_range()).to_owned();
            let whole = short(self.text(at.clone()));
            let others = other_operators(&expr.op).iter();
            let others = others
                .map(|&other| {
                    let what = format!("`{own}` is `{other}` in `{whole}`");
                    (what, format!("{left}{other}{right}"))
                })
                .collect();
            self.edit(at, Form::Expression, others);
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast ExprUnary) {
        if !matches!(expr.op, UnOp::Deref(_)) {
            let at = expr.span().byte_range();
            let rest = self.text(expr.expr.span().byte_range()).to_owned();
            let what = format!("no negation in `{}`", short(self.text(at.clone())));
            self.edit(at, Form::Expression, vec![(what, rest)]);
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast ExprMatch) {
        let last = expr.arms.last();
        let has_wildcard = last.is_some_and(|arm| matches!(arm.pat, Pat::Wild(_)));
        for arm in &expr.arms {
            self.guard(arm, has_wildcard);
        }
        visit::visit_expr_match(self, expr);
    }
}

/// What cargo-mutants makes of an operator.
fn other_operators(of: &BinOp) -> &'static [&'static str] {
    match of {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">", "<"],
        BinOp::Ge(_) => &["<", ">"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::DivAssign(_) => &["*=", "%="],
        BinOp::BitAndAssign(_) => &["|=", "^="],
        BinOp::BitOrAssign(_) => &["&=", "^="],
        _ => &[],
    }
}

/// Whether it is compiled for tests alone.
fn is_for_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::NameValue(_) => false,
    })
}

/// Whether an expression has a `let` that binds what comes after it.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Whether a body returns before its end.
fn returns(block: &Block) -> bool {
    struct Returns(bool);
    impl<'ast> Visit<'ast> for Returns {
        fn visit_expr_return(&mut self, _: &'ast syn::ExprReturn) {
            self.0 = true;
        }
        fn visit_expr_try(&mut self, _: &'ast syn::ExprTry) {
            self.0 = true;
        }
    }
    let mut found = Returns(false);
    found.visit_block(block);
    found.0
}

/// The text in one line, and no more of it than tells it from others.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 70 {
        return line;
    }
    line.chars().take(67).chain("...".chars()).collect()
}
