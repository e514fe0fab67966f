//! `#[derive(Rejection)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, Fields, Ident, LitStr, Member, Token, Variant, spanned::Spanned};

use crate::{attributes, values};

struct Rule {
    variant: Ident,
    code: LitStr,
    text: LitStr,
    fields: Fields,
}

pub fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    if matches!(&input.data, syn::Data::Enum(data) if data.variants.is_empty()) {
        attributes::refuse_generics(input)?;
        return Ok(never(&input.ident));
    }
    let variants = attributes::variants(input, "Rejection")?;
    let rules = variants.iter().map(Rule::read).collect::<syn::Result<Vec<_>>>()?;
    let (private, name, values) = (attributes::private(), &input.ident, values::all(input));
    let codes: Vec<&LitStr> = rules.iter().map(|rule| &rule.code).collect();
    let code = rules.iter().map(|rule| {
        let (variant, code) = (&rule.variant, &rule.code);
        quote!(Self::#variant { .. } => #code)
    });
    let (shown, members) = (rules.iter().map(Rule::shown), rules.iter().map(Rule::members));
    Ok(quote! {
        #values
        #[automatically_derived]
        impl ::core::fmt::Display for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self { #(#shown),* }
            }
        }
        #[automatically_derived]
        impl ::core::error::Error for #name {}
        #[automatically_derived]
        impl #private::Rejection for #name {
            const CODES: &'static [&'static str] = &[#(#codes),*];

            fn code(&self) -> &'static str {
                match self { #(#code),* }
            }

            fn members(&self) -> ::std::vec::Vec<(&'static str, #private::Value)> {
                match self { #(#members),* }
            }
        }
    })
}

/// Of an aggregate whose commands break no rule: there is no value of it.
fn never(name: &Ident) -> TokenStream {
    let private = attributes::private();
    quote! {
        #[automatically_derived]
        impl ::core::clone::Clone for #name {
            fn clone(&self) -> Self {
                match *self {}
            }
        }
        #[automatically_derived]
        impl ::core::fmt::Debug for #name {
            fn fmt(&self, _: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match *self {}
            }
        }
        #[automatically_derived]
        impl ::core::fmt::Display for #name {
            fn fmt(&self, _: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match *self {}
            }
        }
        #[automatically_derived]
        impl ::core::cmp::PartialEq for #name {
            fn eq(&self, _: &Self) -> bool {
                match *self {}
            }
        }
        #[automatically_derived]
        impl ::core::cmp::Eq for #name {}
        #[automatically_derived]
        impl ::core::hash::Hash for #name {
            fn hash<H: ::core::hash::Hasher>(&self, _: &mut H) {
                match *self {}
            }
        }
        #[automatically_derived]
        impl ::core::error::Error for #name {}
        #[automatically_derived]
        impl #private::Rejection for #name {
            const CODES: &'static [&'static str] = &[];

            fn code(&self) -> &'static str {
                match *self {}
            }

            fn members(&self) -> ::std::vec::Vec<(&'static str, #private::Value)> {
                match *self {}
            }
        }
    }
}

impl Rule {
    fn read(variant: &Variant) -> syn::Result<Self> {
        let message = format!(
            "variant `{}` needs #[rejection(\"code\", \"what is said to people\")]",
            variant.ident
        );
        let missing = || attributes::error(variant.span(), &message);
        let attribute = variant.attrs.iter().find(|found| found.path().is_ident("rejection"));
        let parse = |input: syn::parse::ParseStream<'_>| {
            let code = input.parse::<LitStr>()?;
            input.parse::<Token![,]>()?;
            Ok((code, input.parse::<LitStr>()?))
        };
        let (code, text) = attribute
            .ok_or_else(missing)?
            .parse_args_with(parse)
            .map_err(|error| attributes::error(error.span(), &message))?;
        attributes::check_name(&code, "a code")?;
        if text.value().is_empty() {
            return Err(missing());
        }
        Ok(Self { variant: variant.ident.clone(), code, text, fields: variant.fields.clone() })
    }

    /// Each field under a name that the text can use.
    fn bound(&self) -> Vec<Ident> {
        self.fields
            .members()
            .map(|member| match member {
                Member::Named(name) => name,
                Member::Unnamed(index) => format_ident!("_{}", index.index),
            })
            .collect()
    }

    fn shown(&self) -> TokenStream {
        let (variant, bound) = (&self.variant, self.bound());
        let pattern = match &self.fields {
            Fields::Unnamed(_) => quote!((#(#bound),*)),
            Fields::Named(_) => quote!({ #(#bound),* }),
            Fields::Unit => quote!(),
        };
        let text = LitStr::new(&named(&self.text.value()), self.text.span());
        quote! {
            Self::#variant #pattern => {
                let _ = (#(#bound,)*);
                ::core::write!(f, #text)
            }
        }
    }

    fn members(&self) -> TokenStream {
        let (private, variant) = (attributes::private(), &self.variant);
        let Fields::Named(_) = &self.fields else {
            return quote!(Self::#variant { .. } => ::std::vec::Vec::new());
        };
        let bound = self.bound();
        let names = bound.iter().map(ToString::to_string);
        quote! {
            Self::#variant { #(#bound),* } => ::std::vec![#((#names, #private::member(#bound))),*]
        }
    }
}

/// `{0}` is a field without a name, which is bound as `_0`.
fn named(text: &str) -> String {
    let mut result = String::new();
    let mut before = ' ';
    for letter in text.chars() {
        if before == '{' && letter.is_ascii_digit() {
            result.push('_');
        }
        result.push(letter);
        // `{{` is a brace that is meant.
        before = if before == '{' && letter == '{' { ' ' } else { letter };
    }
    result
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn errors_name_the_variant_and_what_is_needed() {
        for (variant, expected) in [
            (quote!(Late), "variant `Late` needs #[rejection("),
            (
                quote!(
                    #[rejection("late")]
                    Late
                ),
                "variant `Late` needs #[rejection(",
            ),
            (
                quote!(
                    #[rejection("late", "")]
                    Late
                ),
                "variant `Late` needs #[rejection(",
            ),
            (
                quote!(
                    #[rejection("Late", "too late")]
                    Late
                ),
                "`Late` is no name of a code",
            ),
        ] {
            let found = expand(&parse_quote!(enum VoucherRejection { #variant }));
            let found = found.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn an_enum_may_be_empty_and_nothing_else() {
        assert!(
            expand(&parse_quote!(
                enum Never {}
            ))
            .is_ok()
        );
        let found = expand(&parse_quote!(
            struct Never;
        ))
        .map_or_else(|it| it.to_string(), |_| String::new());
        assert!(found.starts_with("Rejection is derived for an enum"), "{found}");
    }

    #[test]
    fn numbers_in_a_text_stand_for_fields() {
        assert_eq!(named("for {0}, {1:?} and {{0}}"), "for {_0}, {_1:?} and {{0}}");
    }
}
