//! `#[derive(Data)]`: objects and checked values; enums are in [`crate::choice`].

mod object;
mod part;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Field, Fields};

use crate::{attributes, choice, values};

pub fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    attributes::refuse_generics(input)?;
    let body = match &input.data {
        syn::Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => object::expand(input, fields.named.iter().collect())?,
            Fields::Unit => object::expand(input, Vec::new())?,
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                wrapper(input, &fields.unnamed[0])?
            }
            Fields::Unnamed(fields) => {
                return Err(syn::Error::new_spanned(
                    fields,
                    "Data has named fields, or is a tuple struct of exactly one",
                ));
            }
        },
        syn::Data::Enum(data) => choice::expand(input, &data.variants)?,
        syn::Data::Union(_) => {
            return Err(attributes::error(input.ident.span(), "Data is a struct or an enum"));
        }
    };
    let values = values::all(input);
    Ok(quote!(#values #body))
}

/// A tuple struct of one field: its field's JSON and schema, and perhaps a check.
fn wrapper(input: &DeriveInput, field: &Field) -> syn::Result<TokenStream> {
    let mut checked = false;
    attributes::read(&input.attrs, "data", |meta| {
        if !meta.path.is_ident("try_from") {
            return Err(meta.error("#[data(try_from)] is all that is allowed here"));
        }
        checked = true;
        Ok(())
    })?;
    let (private, name, kind) = (attributes::private(), &input.ident, &field.ty);
    let make = if checked {
        quote!(<#name as ::core::convert::TryFrom<#kind>>::try_from(inner).map_err(#private::said))
    } else {
        quote!(::core::result::Result::Ok(#name(inner)))
    };
    Ok(quote! {
        const _: () = {
            fn make(inner: #kind) -> ::core::result::Result<#name, ::std::string::String> {
                #make
            }
            impl #private::serde::Serialize for #name {
                fn serialize<S: #private::serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> ::core::result::Result<S::Ok, S::Error> {
                    #private::serde::Serialize::serialize(&self.0, serializer)
                }
            }
            impl<'de> #private::serde::Deserialize<'de> for #name {
                fn deserialize<D: #private::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<Self, D::Error> {
                    #private::wrapped(deserializer, make)
                }
            }
            impl #private::Data for #name {
                fn schema(place: #private::Usage) -> #private::Schema {
                    <#kind as #private::Data>::schema(place)
                }
                fn read(
                    json: &#private::Value,
                    at: &#private::At<'_>,
                    found: &mut ::std::vec::Vec<#private::FieldError>,
                ) -> ::core::option::Option<Self> {
                    #private::read_wrapped(json, at, found, make)
                }
            }
        };
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn said(input: &DeriveInput) -> String {
        expand(input).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn errors_name_the_field_and_what_is_allowed() {
        let said_of_field = said(&parse_quote!(
            struct Issued {
                #[data(maximum = 3)]
                units: Count,
            }
        ));
        assert!(
            said_of_field.starts_with("field `units`: #[data(flatten)] and"),
            "{said_of_field}"
        );
        let generic = said(&parse_quote!(
            struct Issued<T> {
                units: T,
            }
        ));
        assert_eq!(generic, "`Issued` must not have generic parameters");
        let pair = said(&parse_quote!(
            struct Issued(Count, Count);
        ));
        assert!(pair.contains("exactly one"), "{pair}");
        let attribute = said(&parse_quote!(
            #[data(try_from)]
            struct Issued {
                units: Count,
            }
        ));
        assert!(attribute.contains("for a tuple struct"), "{attribute}");
    }

    #[test]
    fn objects_checked_values_and_choices_expand() {
        for input in [
            parse_quote!(
                struct Issued {
                    #[data(flatten)]
                    levels: Levels,
                    r#type: Text<9>,
                }
            ),
            parse_quote!(
                struct Redeemed;
            ),
            parse_quote!(
                #[data(try_from)]
                struct Lines(List<Line, 9>);
            ),
            parse_quote!(
                enum Stage {
                    Open,
                    Closed { at: Timestamp },
                    Moved(Usage),
                }
            ),
        ] {
            assert_eq!(said(&input), "");
        }
    }
}
