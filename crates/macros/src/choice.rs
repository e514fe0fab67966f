//! `#[derive(Data)]` on an enum: a name, or an object with one name. serde's derive reads and
//! writes it, on a copy of the enum that no other code sees.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Fields, Ident, Token, Type, Variant, punctuated::Punctuated};

use crate::attributes;

pub fn expand(
    input: &DeriveInput,
    variants: &Punctuated<Variant, Token![,]>,
) -> syn::Result<TokenStream> {
    attributes::read(&input.attrs, "data", |meta| {
        Err(meta.error("no attribute is allowed on an enum"))
    })?;
    let (private, name, text) = (attributes::private(), &input.ident, input.ident.to_string());
    let crate_path = private.to_string().replace(' ', "");
    let serde = format!("{crate_path}::serde");
    let column = column(name, variants);
    let described = variants.iter().map(describe).collect::<syn::Result<Vec<_>>>()?;
    let copies = variants.iter().map(|variant| {
        let (name, fields) = (&variant.ident, &variant.fields);
        let serde_name = attributes::snake(name);
        quote!(#[serde(rename = #serde_name)] #name #fields)
    });
    Ok(quote! {
        const _: () = {
            #[derive(#private::serde::Serialize, #private::serde::Deserialize)]
            #[serde(crate = #serde, remote = #text, deny_unknown_fields)]
            enum __Copy { #(#copies),* }

            impl #private::serde::Serialize for #name {
                fn serialize<S: #private::serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> ::core::result::Result<S::Ok, S::Error> {
                    __Copy::serialize(self, serializer)
                }
            }
            impl<'de> #private::serde::Deserialize<'de> for #name {
                fn deserialize<D: #private::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<Self, D::Error> {
                    __Copy::deserialize(deserializer)
                }
            }
            impl #private::Data for #name {
                fn schema(place: #private::Usage) -> #private::Schema {
                    let mut choices = #private::Choices::default();
                    let _ = place;
                    #(#described)*
                    choices.schema()
                }
            }
            #column
        };
    })
}

/// An enum of names alone can stand in a column of text.
fn column(name: &Ident, variants: &Punctuated<Variant, Token![,]>) -> Option<TokenStream> {
    if variants.is_empty() || !variants.iter().all(|variant| matches!(variant.fields, Fields::Unit))
    {
        return None;
    }
    let private = attributes::private();
    let (idents, names): (Vec<_>, Vec<_>) =
        variants.iter().map(|variant| (&variant.ident, attributes::snake(&variant.ident))).unzip();
    let unknown = format!("must be one of {}", names.join(", "));
    Some(quote! {
        impl #private::Column for #name {
            const KIND: #private::CellKind = #private::CellKind::Text;
            const CHOICES: &'static [&'static str] = &[#(#names),*];

            fn cell(&self) -> #private::Cell {
                let name = match self { #(Self::#idents => #names),* };
                #private::Column::cell(&::std::string::String::from(name))
            }

            fn of(
                cell: #private::Cell,
            ) -> ::core::result::Result<Self, ::std::string::String> {
                let text = <::std::string::String as #private::Column>::of(cell)?;
                match text.as_str() {
                    #(#names => ::core::result::Result::Ok(Self::#idents),)*
                    _ => ::core::result::Result::Err(#unknown.into()),
                }
            }
        }
    })
}

fn describe(variant: &Variant) -> syn::Result<TokenStream> {
    let (private, name) = (attributes::private(), attributes::snake(&variant.ident));
    match &variant.fields {
        Fields::Unit => Ok(quote!(choices.name(#name);)),
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            let kind = &fields.unnamed[0].ty;
            Ok(quote!(choices.holding(#name, <#kind as #private::Data>::schema(place));))
        }
        Fields::Named(fields) => {
            if let Some(field) = fields.named.iter().find(|field| may_be_absent(&field.ty)) {
                return Err(syn::Error::new_spanned(
                    field,
                    format!(
                        "variant `{}`: a field that may be absent stands in a struct that derives \
                         Data, and the variant holds that",
                        variant.ident
                    ),
                ));
            }
            let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
            let (names, kinds) =
                (names.map(ToString::to_string), fields.named.iter().map(|field| &field.ty));
            let docs = fields.named.iter().map(|field| attributes::docs(&field.attrs));
            Ok(quote! {
                let mut fields = #private::Fields::default();
                #(fields.add::<#kinds>(
                    #names,
                    <#kinds as #private::Data>::schema(place).described(#docs),
                );)*
                choices.holding(#name, fields.schema());
            })
        }
        fields => Err(syn::Error::new_spanned(
            fields,
            format!("variant `{}` holds one type, named fields, or nothing", variant.ident),
        )),
    }
}

fn may_be_absent(kind: &Type) -> bool {
    let Type::Path(path) = kind else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Option" || last.ident == "Change")
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use crate::data;

    #[test]
    fn a_variant_whose_field_may_be_absent_is_named() {
        let input = parse_quote!(
            enum Stage {
                Closed { by: Option<Text<9>> },
            }
        );
        let said = data::expand(&input).map_err(|error| error.to_string());
        assert!(said.is_err_and(|said| said.starts_with("variant `Closed`: a field that may be")));
    }

    #[test]
    fn a_variant_of_two_is_named() {
        let input = parse_quote!(
            enum Stage {
                Closed(A, B),
            }
        );
        let said = data::expand(&input).map_err(|error| error.to_string());
        assert!(said.is_err_and(|said| said.starts_with("variant `Closed` holds one type")));
    }
}
