//! Values of a type that a function may return instead of its own.

use syn::{GenericArgument, PathArguments, ReturnType, Type, TypeParamBound};

/// Values that are likely to have the type: the compiler says which do.
pub(crate) fn of_return(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".to_owned()],
        ReturnType::Type(_, of) => of_type(of),
    }
}

/// Whether the type is some iterator, of which nothing is known.
pub(crate) fn is_some_iterator(output: &ReturnType) -> bool {
    let ReturnType::Type(_, of) = output else {
        return false;
    };
    let Type::ImplTrait(of) = &**of else {
        return false;
    };
    of.bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            let last = bound.path.segments.last();
            last.is_some_and(|last| last.ident.to_string().ends_with("Iterator"))
        }
        _ => false,
    })
}

fn of_type(of: &Type) -> Vec<String> {
    match of {
        Type::Tuple(of) => {
            let mut all = vec![Vec::new()];
            for part in &of.elems {
                let values = of_type(part);
                let longer = |parts: &Vec<String>| {
                    let parts = parts.clone();
                    values
                        .iter()
                        .map(move |value| [parts.clone(), vec![value.clone()]].concat())
                };
                all = all.iter().flat_map(longer).collect();
            }
            all.iter()
                .map(|parts| format!("({})", parts.join(", ")))
                .collect()
        }
        Type::Path(of) => {
            let Some(last) = of.path.segments.last() else {
                return Vec::new();
            };
            of_name(&last.ident.to_string(), &arguments(&last.arguments))
        }
        Type::Reference(of) => match &*of.elem {
            Type::Slice(_) if of.mutability.is_none() => vec!["&[]".to_owned()],
            Type::Path(path) if of.mutability.is_none() && path.path.is_ident("str") => {
                vec!["\"\"".to_owned(), "\"xyzzy\"".to_owned()]
            }
            elem => {
                let borrow = |value: String| format!("Box::leak(Box::new({value}))");
                of_type(elem).into_iter().map(borrow).collect()
            }
        },
        Type::Paren(of) => of_type(&of.elem),
        Type::Never(_) | Type::ImplTrait(_) => Vec::new(),
        _ => vec!["Default::default()".to_owned()],
    }
}

fn of_name(name: &str, arguments: &[&Type]) -> Vec<String> {
    let strings = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
    let within = |form: fn(String) -> String| -> Vec<String> {
        arguments
            .first()
            .map_or(Vec::new(), |of| of_type(of))
            .into_iter()
            .map(form)
            .collect()
    };
    match name {
        "bool" => strings(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => strings(&["0", "1"]),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => strings(&["0", "1", "-1"]),
        "String" => strings(&["String::new()", "\"xyzzy\".into()"]),
        "Option" => [
            vec!["None".to_owned()],
            within(|value| format!("Some({value})")),
        ]
        .concat(),
        "Result" => within(|value| format!("Ok({value})")),
        "Vec" => [
            vec!["vec![]".to_owned()],
            within(|value| format!("vec![{value}]")),
        ]
        .concat(),
        "Box" => within(|value| format!("Box::new({value})")),
        _ => strings(&["Default::default()"]),
    }
}

fn arguments(of: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(of) = of else {
        return Vec::new();
    };
    let types = of.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(of) => Some(of),
        _ => None,
    });
    types.collect()
}
