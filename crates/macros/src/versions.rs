//! The versions of an event or a command: what the variant holds, and what it held before.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Field, Ident, Path, Type};

use crate::attributes;

pub struct Versions {
    /// Of the latest version.
    pub payload: Option<Type>,
    /// Those before it, the oldest first.
    pub old: Vec<Path>,
}

/// One of them, from 1.
pub struct Version {
    pub number: u32,
    pub kind: TokenStream,
    /// From `data` of this version to `data` of the latest.
    pub upcast: TokenStream,
    pub is_latest: bool,
}

impl Versions {
    pub fn of(payload: Option<&Field>) -> Self {
        Self { payload: payload.map(|field| field.ty.clone()), old: Vec::new() }
    }

    pub fn check(&self, variant: &Ident) -> syn::Result<()> {
        if self.old.is_empty() || self.payload.is_some() {
            return Ok(());
        }
        let message = format!("variant `{variant}`: what had old(..) versions holds a type");
        Err(attributes::error(variant.span(), message))
    }

    pub fn count(&self) -> u32 {
        u32::try_from(self.old.len() + 1).unwrap_or(u32::MAX)
    }

    pub fn all(&self) -> Vec<Version> {
        let private = attributes::private();
        let latest = match &self.payload {
            Some(payload) => quote!(#payload),
            None => quote!(#private::Empty),
        };
        let kinds: Vec<TokenStream> =
            self.old.iter().map(|path| quote!(#path)).chain([latest]).collect();
        let version = |(number, at): (u32, usize)| {
            let later = kinds[at + 1..].iter();
            let upcast =
                later.map(|next| quote!(let data: #next = ::core::convert::Into::into(data);));
            Version {
                number,
                kind: kinds[at].clone(),
                upcast: quote!(#(#upcast)*),
                is_latest: at + 1 == kinds.len(),
            }
        };
        (1..).zip(0..kinds.len()).map(version).collect()
    }

    /// The variant, made of `data` of the latest version.
    pub fn made(&self, variant: &Ident) -> TokenStream {
        let private = attributes::private();
        match &self.payload {
            Some(_) => quote!(Self::#variant(data)),
            None => quote!({ let _: #private::Empty = data; Self::#variant }),
        }
    }

    /// Arms from name and version to schema and description.
    pub fn schemas(&self, name: &str, place: &str, docs: &str) -> Vec<TokenStream> {
        let (private, place) = (attributes::private(), quote::format_ident!("{place}"));
        let arm = |Version { number, kind, is_latest, .. }: Version| {
            let docs = if is_latest { docs } else { "" };
            quote! {
                (#name, #number) => ::core::option::Option::Some(
                    #private::payload::<#kind>(#private::Usage::#place, #docs)
                ),
            }
        };
        self.all().into_iter().map(arm).collect()
    }
}
