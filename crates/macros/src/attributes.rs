//! What all derives read: documentation, names, and attributes that may be repeated.

use proc_macro2::Span;
use syn::{
    Attribute, DeriveInput, Field, Ident, LitStr, Path, Token, Variant, ext::IdentExt,
    meta::ParseNestedMeta, parenthesized, punctuated::Punctuated,
};

/// Emitted code names everything from here.
pub fn private() -> proc_macro2::TokenStream {
    quote::quote!(::highwater::__private)
}

/// The doc comment as one text: lines are joined, an empty line parts paragraphs.
pub fn docs(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let syn::Meta::NameValue(pair) = &attribute.meta else { continue };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(line), .. }) = &pair.value else {
            continue;
        };
        match line.value().trim() {
            "" => text.push_str("\n\n"),
            line if text.is_empty() || text.ends_with('\n') => text.push_str(line),
            line => {
                text.push(' ');
                text.push_str(line);
            }
        }
    }
    text.trim().to_owned()
}

/// Reads every `#[name(..)]` by `reader`.
pub fn read(
    attributes: &[Attribute],
    name: &str,
    mut reader: impl FnMut(ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
        .try_for_each(|attribute| attribute.parse_nested_meta(&mut reader))
}

/// `old(IssueV1, IssueV2)`.
pub fn paths(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<Path>> {
    let content;
    parenthesized!(content in meta.input);
    Ok(Punctuated::<Path, Token![,]>::parse_terminated_with(&content, Path::parse_mod_style)?
        .into_iter()
        .collect())
}

/// `codes("already-redeemed", "expired")`.
pub fn texts(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<LitStr>> {
    let content;
    parenthesized!(content in meta.input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

/// `"issued", old(..)` is a literal, and then what [`read`] reads.
pub fn split_name(
    attribute: &Attribute,
) -> syn::Result<(Option<LitStr>, Option<proc_macro2::TokenStream>)> {
    let syn::Meta::List(list) = &attribute.meta else {
        return Err(syn::Error::new_spanned(attribute, "needs parentheses: #[name(..)]"));
    };
    let parse = |input: syn::parse::ParseStream<'_>| {
        let name = input.peek(LitStr).then(|| input.parse::<LitStr>()).transpose()?;
        if name.is_some() && !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        let rest: proc_macro2::TokenStream = input.parse()?;
        Ok((name, (!rest.is_empty()).then_some(rest)))
    };
    syn::parse::Parser::parse2(parse, list.tokens.clone())
}

/// Reads the part after the name as if it stood in an attribute of its own.
pub fn read_rest(
    rest: proc_macro2::TokenStream,
    reader: impl FnMut(ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    syn::parse::Parser::parse2(syn::meta::parser(reader), rest)
}

/// A name of the log or of a route: lower-case words, joined by hyphens.
pub fn check_name(name: &LitStr, what: &str) -> syn::Result<()> {
    let text = name.value();
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    if text.split('-').all(word) {
        return Ok(());
    }
    let message = format!(
        "`{text}` is no name of {what}: lower-case words, joined by hyphens, as `already-redeemed`"
    );
    Err(syn::Error::new(name.span(), message))
}

/// `GiveAway` is `give-away`.
pub fn kebab(ident: &Ident) -> String {
    words(ident, '-')
}

/// `GiveAway` is `give_away`.
pub fn snake(ident: &Ident) -> String {
    words(ident, '_')
}

fn words(ident: &Ident, between: char) -> String {
    let mut text = String::new();
    for letter in ident.unraw().to_string().chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(between);
        }
        text.extend(letter.to_lowercase());
    }
    text
}

pub fn refuse_generics(input: &DeriveInput) -> syn::Result<()> {
    if input.generics.params.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` must not have generic parameters", input.ident);
    Err(syn::Error::new_spanned(&input.generics, message))
}

/// The variants of an enum that has some.
pub fn variants(input: &DeriveInput, derive: &str) -> syn::Result<Vec<Variant>> {
    refuse_generics(input)?;
    match &input.data {
        syn::Data::Enum(data) if !data.variants.is_empty() => {
            Ok(data.variants.iter().cloned().collect())
        }
        _ => Err(syn::Error::new(
            input.ident.span(),
            format!("{derive} is derived for an enum with at least one variant"),
        )),
    }
}

/// The payload of a variant: none, or one type.
pub fn payload<'a>(variant: &'a Variant, derive: &str) -> syn::Result<Option<&'a Field>> {
    match &variant.fields {
        syn::Fields::Unit => Ok(None),
        syn::Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(fields.unnamed.first()),
        fields => Err(syn::Error::new_spanned(
            fields,
            format!(
                "variant `{0}` of {derive} holds one type that derives Data, as `{0}(Issued)`, or \
                 nothing",
                variant.ident
            ),
        )),
    }
}

pub fn error(span: Span, message: impl std::fmt::Display) -> syn::Error {
    syn::Error::new(span, message)
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn lines_of_a_comment_are_joined_and_empty_ones_part_paragraphs() {
        let input: DeriveInput = parse_quote! {
            /// Units arrived,
            /// all of them.
            ///
            /// And more.
            struct Arrived;
        };
        assert_eq!(docs(&input.attrs), "Units arrived, all of them.\n\nAnd more.");
    }

    #[test]
    fn names_are_lower_case_words() {
        let name = |text: &str| LitStr::new(text, Span::call_site());
        for fits in ["issued", "give-away", "v2-issued"] {
            assert!(check_name(&name(fits), "an event").is_ok(), "{fits}");
        }
        for other in ["", "Issued", "give_away", "-issued", "issued-", "a--b", "a.b", "2nd"] {
            assert!(check_name(&name(other), "an event").is_err(), "{other}");
        }
        assert_eq!(kebab(&parse_quote!(GiveAway)), "give-away");
        assert_eq!(kebab(&parse_quote!(r#Return)), "return");
    }
}
