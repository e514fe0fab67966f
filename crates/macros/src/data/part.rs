//! A field of an object, and what is said of it in each method of `Object`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Field, Ident, LitInt, Type, ext::IdentExt};

use crate::attributes;

/// A field of an object.
pub struct Part<'a> {
    ident: &'a Ident,
    kind: &'a Type,
    /// As in JSON.
    name: String,
    docs: String,
    flatten: bool,
    max: Option<LitInt>,
}

impl<'a> Part<'a> {
    pub fn read(field: &'a Field) -> syn::Result<Self> {
        let Some(ident) = &field.ident else {
            return Err(syn::Error::new_spanned(field, "a field of an object has a name"));
        };
        let (mut flatten, mut max) = (false, None);
        attributes::read(&field.attrs, "data", |meta| {
            if meta.path.is_ident("flatten") {
                flatten = true;
            } else if meta.path.is_ident("max") {
                max = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error(format!(
                    "field `{ident}`: #[data(flatten)] and #[data(max = 500)] are all that is \
                     allowed here"
                )));
            }
            Ok(())
        })?;
        let (name, docs) = (ident.unraw().to_string(), attributes::docs(&field.attrs));
        Ok(Self { ident, kind: &field.ty, name, docs, flatten, max })
    }

    /// How many fields it is in JSON.
    pub fn count(&self) -> TokenStream {
        let (private, kind) = (attributes::private(), self.kind);
        if self.flatten { quote!(<#kind as #private::Object>::COUNT) } else { quote!(1usize) }
    }

    /// What is kept of it while an object is being read.
    pub fn draft(&self) -> TokenStream {
        let (private, kind, ident) = (attributes::private(), self.kind, self.ident);
        if self.flatten {
            quote!(#ident: <#kind as #private::Object>::Draft)
        } else {
            quote!(#ident: ::core::option::Option<#kind>)
        }
    }

    /// An arm for its own name, or a look into its part.
    pub fn find(&self, at: &Ident) -> (Option<TokenStream>, Option<TokenStream>) {
        let (private, kind, name) = (attributes::private(), self.kind, &self.name);
        if self.flatten {
            let within = quote! {
                if let ::core::option::Option::Some(within) =
                    <#kind as #private::Object>::find(name)
                {
                    return ::core::option::Option::Some(#at + within);
                }
            };
            return (None, Some(within));
        }
        (Some(quote!(#name => ::core::option::Option::Some(#at),)), None)
    }

    pub fn field(&self) -> TokenStream {
        let (private, kind, name) = (attributes::private(), self.kind, &self.name);
        if self.flatten {
            quote!(<#kind as #private::Object>::field(within))
        } else {
            quote!(#private::Field::of::<#kind>(#name))
        }
    }

    pub fn take(&self) -> TokenStream {
        let (private, kind, ident) = (attributes::private(), self.kind, self.ident);
        if self.flatten {
            return quote!(<#kind as #private::Object>::take(&mut draft.#ident, within, source));
        }
        let read = match &self.max {
            Some(max) => quote!(source.read(#private::at_most::<#kind>(#max))),
            None => quote!(source.read(#private::unchecked::<#kind>)),
        };
        quote!(#read.map(|read| draft.#ident = read))
    }

    pub fn finish(&self) -> TokenStream {
        let (private, kind, ident, name) =
            (attributes::private(), self.kind, self.ident, &self.name);
        if self.flatten {
            quote!(#ident: <#kind as #private::Object>::finish(draft.#ident)?)
        } else {
            quote!(#ident: #private::finish(draft.#ident, #name)?)
        }
    }

    pub fn write(&self) -> TokenStream {
        let (private, kind, ident, name) =
            (attributes::private(), self.kind, self.ident, &self.name);
        if self.flatten {
            quote!(<#kind as #private::Object>::write(&self.#ident, out)?;)
        } else {
            quote!(#private::write_field(out, #name, &self.#ident)?;)
        }
    }

    pub fn describe(&self) -> TokenStream {
        let (private, kind, name, docs) =
            (attributes::private(), self.kind, &self.name, &self.docs);
        if self.flatten {
            return quote!(<#kind as #private::Object>::describe(place, fields););
        }
        let max = self.max.iter();
        quote! {
            fields.add::<#kind>(#name, <#kind as #private::Data>::schema(place)
                #(.with("maximum", #max))* .described(#docs));
        }
    }
}
