//! `Clone`, `Debug`, `PartialEq`, `Eq` and `Hash`, as the compiler's own derives would write them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Fields, Ident, Member};

/// A struct, or one variant of an enum.
struct Shape {
    /// `Self` or `Self::Variant`.
    path: TokenStream,
    name: String,
    members: Vec<Member>,
    is_tuple: bool,
}

/// All of them.
pub fn all(input: &DeriveInput) -> TokenStream {
    let (eq, hash) = (equal(input), hash(input));
    let plain = cloned_and_shown(input);
    let name = &input.ident;
    quote! {
        #plain
        #eq
        #[automatically_derived]
        impl ::core::cmp::Eq for #name {}
        #hash
    }
}

/// `Clone` and `Debug`.
pub fn cloned_and_shown(input: &DeriveInput) -> TokenStream {
    let name = &input.ident;
    let shapes = shapes(input);
    let cloned = shapes.iter().map(|shape| {
        let (pattern, bound) = (shape.pattern("a"), shape.bound("a"));
        let (path, members) = (&shape.path, &shape.members);
        quote!(#pattern => #path { #(#members: ::core::clone::Clone::clone(#bound)),* })
    });
    let shown = shapes.iter().map(|shape| {
        let (pattern, bound, name) = (shape.pattern("a"), shape.bound("a"), &shape.name);
        if shape.members.is_empty() {
            return quote!(#pattern => f.write_str(#name));
        }
        if shape.is_tuple {
            return quote!(#pattern => f.debug_tuple(#name) #(.field(#bound))* .finish());
        }
        let fields = shape.members.iter().map(|member| match member {
            Member::Named(field) => field.to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        });
        quote!(#pattern => f.debug_struct(#name) #(.field(#fields, #bound))* .finish())
    });
    quote! {
        #[automatically_derived]
        impl ::core::clone::Clone for #name {
            fn clone(&self) -> Self {
                match self { #(#cloned),* }
            }
        }
        #[automatically_derived]
        impl ::core::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self { #(#shown),* }
            }
        }
    }
}

/// `PartialEq`.
pub fn equal(input: &DeriveInput) -> TokenStream {
    let name = &input.ident;
    let shapes = shapes(input);
    let arms = shapes.iter().map(|shape| {
        let (left, right) = (shape.pattern("a"), shape.pattern("b"));
        let (a, b) = (shape.bound("a"), shape.bound("b"));
        quote!((#left, #right) => true #(&& *#a == *#b)*)
    });
    let rest = (shapes.len() > 1).then(|| quote!(_ => false));
    quote! {
        #[automatically_derived]
        impl ::core::cmp::PartialEq for #name {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) { #(#arms,)* #rest }
            }
        }
    }
}

fn hash(input: &DeriveInput) -> TokenStream {
    let name = &input.ident;
    let shapes = shapes(input);
    let arms = shapes.iter().map(|shape| {
        let (pattern, bound) = (shape.pattern("a"), shape.bound("a"));
        quote!(#pattern => { #(::core::hash::Hash::hash(#bound, state);)* })
    });
    let discriminant = (shapes.len() > 1)
        .then(|| quote!(::core::hash::Hash::hash(&::core::mem::discriminant(self), state);));
    quote! {
        #[automatically_derived]
        impl ::core::hash::Hash for #name {
            fn hash<H: ::core::hash::Hasher>(&self, state: &mut H) {
                #discriminant
                match self { #(#arms),* }
            }
        }
    }
}

fn shapes(input: &DeriveInput) -> Vec<Shape> {
    let shape = |path: TokenStream, name: &Ident, fields: &Fields| Shape {
        path,
        name: name.to_string(),
        members: fields.members().collect(),
        is_tuple: matches!(fields, Fields::Unnamed(_)),
    };
    match &input.data {
        Data::Struct(data) => vec![shape(quote!(Self), &input.ident, &data.fields)],
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let name = &variant.ident;
                shape(quote!(Self::#name), name, &variant.fields)
            })
            .collect(),
        Data::Union(_) => Vec::new(),
    }
}

impl Shape {
    fn bound(&self, prefix: &str) -> Vec<Ident> {
        (0..self.members.len()).map(|at| format_ident!("{prefix}_{at}")).collect()
    }

    fn pattern(&self, prefix: &str) -> TokenStream {
        let (path, members, bound) = (&self.path, &self.members, self.bound(prefix));
        quote!(#path { #(#members: #bound),* })
    }
}
