//! `#[derive(Event)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr, Type, Variant, spanned::Spanned};

use crate::{
    attributes, values,
    versions::{Version, Versions},
};

struct Kind {
    variant: syn::Ident,
    /// As in the log: `issued`.
    name: LitStr,
    versions: Versions,
    docs: String,
}

pub fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let variants = attributes::variants(input, "Event")?;
    let category = category(input)?;
    let kinds = variants.iter().map(Kind::read).collect::<syn::Result<Vec<_>>>()?;
    for (at, kind) in kinds.iter().enumerate() {
        if kinds[..at].iter().any(|before| before.name.value() == kind.name.value()) {
            let message = format!("`{}` names two events", kind.name.value());
            return Err(attributes::error(kind.name.span(), message));
        }
    }
    let (private, name, values) = (attributes::private(), &input.ident, values::all(input));
    let category_text = category.value();
    let table = kinds.iter().map(|kind| {
        let (name, versions) = (&kind.name, kind.versions.count());
        quote!(#private::EventKind { name: #name, versions: #versions })
    });
    let decode = kinds.iter().flat_map(|kind| kind.decode(&category_text));
    let encode = kinds.iter().map(|kind| kind.encode(&category_text));
    let schema = kinds
        .iter()
        .flat_map(|kind| kind.versions.schemas(&kind.name.value(), "Event", &kind.docs));
    let from = from_payloads(name, &kinds);
    Ok(quote! {
        #values
        #[automatically_derived]
        impl #private::Event for #name {
            const CATEGORY: &'static str = #category;
            const KINDS: &'static [#private::EventKind] = &[#(#table),*];

            fn decode(
                stored: &#private::RecordedEvent,
            ) -> ::core::result::Result<Self, #private::Unreadable> {
                match #private::claimed(stored)? {
                    #(#decode)*
                    _ => ::core::result::Result::Err(#private::unknown(#category, stored)),
                }
            }

            fn encode(&self) -> #private::RecordedEvent {
                match self { #(#encode),* }
            }

            fn schema(
                name: &str,
                version: u32,
            ) -> ::core::option::Option<(#private::Schema, &'static str)> {
                match (name, version) {
                    #(#schema)*
                    _ => ::core::option::Option::None,
                }
            }
        }
        #from
    })
}

fn category(input: &DeriveInput) -> syn::Result<LitStr> {
    let mut category: Option<LitStr> = None;
    attributes::read(&input.attrs, "event", |meta| {
        if !meta.path.is_ident("category") {
            return Err(meta.error("#[event(category = \"voucher\")] is all that is allowed here"));
        }
        category = Some(meta.value()?.parse()?);
        Ok(())
    })?;
    let category = category.ok_or_else(|| {
        let message = format!("#[event(category = \"..\")] is missing on `{}`", input.ident);
        attributes::error(input.ident.span(), message)
    })?;
    attributes::check_name(&category, "a category")?;
    Ok(category)
}

impl Kind {
    fn read(variant: &Variant) -> syn::Result<Self> {
        let ident = &variant.ident;
        let missing = || {
            let message = format!(
                "variant `{ident}` needs #[event(\"name\")]: what happened, in the past tense"
            );
            attributes::error(variant.span(), message)
        };
        let attribute = variant.attrs.iter().find(|found| found.path().is_ident("event"));
        let (name, rest) = attributes::split_name(attribute.ok_or_else(missing)?)?;
        let name = name.ok_or_else(missing)?;
        attributes::check_name(&name, "an event")?;
        let mut versions = Versions::of(attributes::payload(variant, "Event")?);
        attributes::read_rest(rest.unwrap_or_default(), |meta| {
            if !meta.path.is_ident("old") {
                return Err(meta.error(format!(
                    "variant `{ident}`: #[event(\"name\", old(FirstVersion))] is all that is \
                     allowed here"
                )));
            }
            versions.old = attributes::paths(&meta)?;
            Ok(())
        })?;
        versions.check(ident)?;
        let docs = attributes::docs(&variant.attrs);
        Ok(Self { variant: ident.clone(), name, versions, docs })
    }

    fn decode(&self, category: &str) -> Vec<TokenStream> {
        let (private, made) = (attributes::private(), self.versions.made(&self.variant));
        let event_type = format!("{category}.{}", self.name.value());
        let arm = |Version { number, kind, upcast, .. }: Version| {
            quote! {
                (#event_type, #number) => {
                    let data: #kind = #private::data(stored)?;
                    #upcast
                    ::core::result::Result::Ok(#made)
                }
            }
        };
        self.versions.all().into_iter().map(arm).collect()
    }

    fn encode(&self, category: &str) -> TokenStream {
        let (private, variant) = (attributes::private(), &self.variant);
        let event_type = format!("{category}.{}", self.name.value());
        let schema = format!("{event_type}.v{}", self.versions.count());
        match &self.versions.payload {
            Some(_) => quote!(Self::#variant(data) => #private::encode(#event_type, #schema, data)),
            None => {
                quote!(Self::#variant => #private::encode(#event_type, #schema, &#private::Empty))
            }
        }
    }
}

/// So that a rule returns what happened and need not name the variant. A type that two variants
/// hold does not say which.
fn from_payloads(name: &syn::Ident, kinds: &[Kind]) -> TokenStream {
    let text = |payload: &Type| quote!(#payload).to_string();
    let once = kinds.iter().filter_map(|kind| {
        let payload = kind.versions.payload.as_ref()?;
        let same = |other: &&Kind| other.versions.payload.as_ref().map(text) == Some(text(payload));
        let variant = &kind.variant;
        (kinds.iter().filter(same).count() == 1).then(|| {
            quote! {
                #[automatically_derived]
                impl ::core::convert::From<#payload> for #name {
                    fn from(data: #payload) -> Self {
                        Self::#variant(data)
                    }
                }
            }
        })
    });
    quote!(#(#once)*)
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn said(input: &DeriveInput) -> String {
        expand(input).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn errors_name_the_variant_and_what_is_allowed() {
        let category = said(&parse_quote!(
            enum VoucherEvent {
                #[event("issued")]
                Issued,
            }
        ));
        assert_eq!(category, "#[event(category = \"..\")] is missing on `VoucherEvent`");
        for (variant, expected) in [
            (quote!(Issued(Issued)), "variant `Issued` needs #[event(\"name\")]"),
            (
                quote!(
                    #[event(old(A))]
                    Issued(Issued)
                ),
                "variant `Issued` needs #[event(\"name\")]",
            ),
            (
                quote!(
                    #[event("issued", was(A))]
                    Issued(B)
                ),
                "variant `Issued`: #[event(\"name\", old",
            ),
            (
                quote!(
                    #[event("Issued")]
                    Issued(B)
                ),
                "`Issued` is no name of an event",
            ),
            (
                quote!(
                    #[event("issued")]
                    Issued { by: B }
                ),
                "variant `Issued` of Event holds one type",
            ),
            (
                quote!(
                    #[event("a")]
                    A,
                    #[event("a")]
                    B
                ),
                "`a` names two events",
            ),
        ] {
            let found = said(&parse_quote!(
                #[event(category = "voucher")]
                enum VoucherEvent { #variant }
            ));
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn every_version_is_read_and_the_latest_written() {
        let input = parse_quote!(
            #[event(category = "voucher")]
            enum VoucherEvent {
                #[event("issued", old(IssuedV1, IssuedV2))]
                Issued(Issued),
                #[event("redeemed")]
                Redeemed,
            }
        );
        let expanded = expand(&input).map(|expanded| expanded.to_string()).unwrap_or_default();
        for version in 1..=3 {
            assert!(
                expanded.contains(&format!("(\"voucher.issued\" , {version}u32)")),
                "{version}"
            );
        }
        assert!(expanded.contains("\"voucher.issued.v3\"") && !expanded.contains(".issued.v2"));
    }
}
