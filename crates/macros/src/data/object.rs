//! A struct with named fields.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, Field, Ident};

use super::part::Part;
use crate::attributes;

pub fn expand(input: &DeriveInput, fields: Vec<&Field>) -> syn::Result<TokenStream> {
    attributes::read(&input.attrs, "data", |meta| {
        Err(meta.error("no attribute is allowed here: #[data(try_from)] is for a tuple struct"))
    })?;
    let parts: Vec<Part<'_>> = fields.into_iter().map(Part::read).collect::<syn::Result<_>>()?;
    // The number of each field, and the one after the last.
    let at: Vec<Ident> = (0..=parts.len()).map(|index| format_ident!("AT_{index}")).collect();
    let (first, begin, end) = (&at[0], &at[..parts.len()], &at[1..]);
    let (private, name, text) = (attributes::private(), &input.ident, input.ident.to_string());
    let docs = attributes::docs(&input.attrs);
    let (count, draft) = (parts.iter().map(Part::count), parts.iter().map(Part::draft));
    let (read, written) = (read(name, &parts, &at), written(&parts));
    let (all, json) = (&at[parts.len()], json(name));
    Ok(quote! {
        const _: () = {
            const #first: usize = 0;
            #(const #end: usize = #begin + #count;)*

            #[derive(::core::default::Default)]
            pub struct __Draft { #(#draft),* }

            impl #private::Object for #name {
                type Draft = __Draft;
                const NAME: &'static str = #text;
                const DOCS: &'static str = #docs;
                const COUNT: usize = #all;
                #read
                #written
            }
            #json
        };
    })
}

/// `find`, `field`, `take` and `finish`.
fn read(name: &Ident, parts: &[Part<'_>], at: &[Ident]) -> TokenStream {
    let private = attributes::private();
    let (begin, end) = (&at[..parts.len()], &at[1..]);
    let finds: Vec<_> = parts.iter().zip(begin).map(|(part, at)| part.find(at)).collect();
    let (own, within) = (finds.iter().map(|find| &find.0), finds.iter().map(|find| &find.1));
    let (field, take) = (parts.iter().map(Part::field), parts.iter().map(Part::take));
    let finish = parts.iter().map(Part::finish);
    quote! {
        fn find(name: &str) -> ::core::option::Option<usize> {
            match name {
                #(#own)*
                _ => {
                    #(#within)*
                    ::core::option::Option::None
                }
            }
        }

        fn field(index: usize) -> #private::Field {
            match index {
                #(index if (#begin..#end).contains(&index) => {
                    let within = index - #begin;
                    let _ = within;
                    #field
                })*
                _ => #private::Field::NONE,
            }
        }

        fn take<S: #private::Source>(
            draft: &mut __Draft,
            index: usize,
            source: S,
        ) -> ::core::result::Result<(), S::Error> {
            let _ = &draft;
            match index {
                #(index if (#begin..#end).contains(&index) => {
                    let within = index - #begin;
                    let _ = within;
                    #take
                })*
                _ => #private::no_field(source),
            }
        }

        fn finish(draft: __Draft) -> ::core::result::Result<Self, &'static str> {
            let _ = &draft;
            ::core::result::Result::Ok(#name { #(#finish),* })
        }
    }
}

/// `write` and `describe`.
fn written(parts: &[Part<'_>]) -> TokenStream {
    let private = attributes::private();
    let (write, describe) = (parts.iter().map(Part::write), parts.iter().map(Part::describe));
    quote! {
        fn write<S: #private::SerializeStruct>(
            &self,
            out: &mut S,
        ) -> ::core::result::Result<(), S::Error> {
            let _ = &out;
            #(#write)*
            ::core::result::Result::Ok(())
        }

        fn describe(place: #private::Usage, fields: &mut #private::Fields) {
            let _ = (place, &fields);
            #(#describe)*
        }
    }
}

/// An object's JSON, through `Object`.
fn json(name: &Ident) -> TokenStream {
    let private = attributes::private();
    quote! {
        impl #private::serde::Serialize for #name {
            fn serialize<S: #private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                #private::write_object(self, serializer)
            }
        }
        impl<'de> #private::serde::Deserialize<'de> for #name {
            fn deserialize<D: #private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                #private::object(deserializer)
            }
        }
        impl #private::Data for #name {
            fn schema(place: #private::Usage) -> #private::Schema {
                #private::object_schema::<Self>(place)
            }
            fn read(
                json: &#private::Value,
                at: &#private::At<'_>,
                found: &mut ::std::vec::Vec<#private::FieldError>,
            ) -> ::core::option::Option<Self> {
                #private::read_object(json, at, found, #private::IS_NO_FIELD, &[])
            }
        }
    }
}
