//! Objects: what `#[derive(Data)]` says of a struct's fields, and all that is made of it. Hidden:
//! for generated code alone.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, MapAccess, Visitor},
    ser::SerializeStruct,
};

use super::{Data, Usage};
use crate::schema::Schema;

/// A struct with named fields, which are numbered, those of flattened parts included.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no object of a contract",
    note = "it must be a struct with named fields that derives Data"
)]
pub trait Object: Sized {
    /// What has been read so far.
    type Draft: Default;
    /// The struct's.
    const NAME: &'static str;
    /// Its doc comment.
    const DOCS: &'static str;
    /// How many fields it has.
    const COUNT: usize;

    /// The number of the field of this name.
    fn find(name: &str) -> Option<usize>;
    /// The field of this number.
    fn field(index: usize) -> Field;
    /// Reads the field of this number.
    fn take<S: Source>(draft: &mut Self::Draft, index: usize, source: S) -> Result<(), S::Error>;
    /// All fields are read. `Err`: a required one is missing.
    fn finish(draft: Self::Draft) -> Result<Self, &'static str>;
    /// Writes every field that is not absent.
    fn write<S: SerializeStruct>(&self, out: &mut S) -> Result<(), S::Error>;
    /// The fields' schemas.
    fn describe(place: Usage, fields: &mut Fields);
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As in JSON.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
}

impl Field {
    /// No field has this name.
    pub const NONE: Field = Field { name: "", required: false };

    /// A field of type `T`.
    pub fn of<T: Data>(name: &'static str) -> Self {
        Self { name, required: T::absent().is_none() }
    }
}

/// Where the value of a field comes from.
pub trait Source {
    /// Ends the reading at once.
    type Error;
    /// Reads and checks it. `None`: it is refused, and reading goes on, to find what else is wrong.
    fn read<T: Data>(
        self,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Result<Option<T>, Self::Error>;
}

/// The fields of an object, while its schema is made.
#[derive(Debug, Default)]
pub struct Fields {
    properties: Schema,
    required: Vec<String>,
}

impl Fields {
    /// One field more.
    pub fn add<T: Data>(&mut self, name: &str, schema: Schema) {
        if T::absent().is_none() {
            self.required.push(name.to_owned());
        }
        self.insert(name, schema);
    }

    pub(crate) fn insert(&mut self, name: &str, schema: Schema) {
        self.properties = std::mem::take(&mut self.properties).with_schema(name, schema);
    }

    /// The object's schema.
    pub fn schema(self) -> Schema {
        let schema = Schema::of("object")
            .with("additionalProperties", false)
            .with_schema("properties", self.properties);
        if self.required.is_empty() { schema } else { schema.with("required", self.required) }
    }
}

/// The variants of an enum, while its schema is made.
#[derive(Debug, Default)]
pub struct Choices {
    names: Vec<String>,
    objects: Vec<Schema>,
}

impl Choices {
    /// A variant without fields: its name.
    pub fn name(&mut self, name: &str) {
        self.names.push(name.to_owned());
    }

    /// A variant with fields: an object with its name.
    pub fn holding(&mut self, name: &str, schema: Schema) {
        let mut fields = Fields::default();
        fields.insert(name, schema);
        fields.required.push(name.to_owned());
        self.objects.push(fields.schema());
    }

    /// The enum's schema.
    pub fn schema(self) -> Schema {
        let names = Schema::of("string").with("enum", self.names.clone());
        match (self.names.is_empty(), self.objects.is_empty()) {
            (_, true) => names,
            (true, false) => Schema::default().with_schemas("oneOf", self.objects),
            (false, false) => {
                let all = std::iter::once(names).chain(self.objects).collect();
                Schema::default().with_schemas("oneOf", all)
            }
        }
    }
}

/// `{}`: the payload of a variant that holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Empty;

impl Object for Empty {
    type Draft = ();
    const NAME: &'static str = "Empty";
    const DOCS: &'static str = "";
    const COUNT: usize = 0;

    fn find(_: &str) -> Option<usize> {
        None
    }

    fn field(_: usize) -> Field {
        Field::NONE
    }

    fn take<S: Source>((): &mut (), _: usize, source: S) -> Result<(), S::Error> {
        no_field(source)
    }

    fn finish((): ()) -> Result<Self, &'static str> {
        Ok(Empty)
    }

    fn write<S: SerializeStruct>(&self, _: &mut S) -> Result<(), S::Error> {
        Ok(())
    }

    fn describe(_: Usage, _: &mut Fields) {}
}

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_object(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer)
    }
}

/// No bound but those of the type.
pub fn unchecked<T>(_: &T) -> Result<(), String> {
    Ok(())
}

/// A bound narrower than the type's.
pub fn at_most<T: Copy + Into<i64>>(most: i64) -> impl FnOnce(&T) -> Result<(), String> {
    move |value| {
        let fits = (*value).into() <= most;
        if fits { Ok(()) } else { Err(format!("must be at most {most}")) }
    }
}

/// A field's number that [`Object::find`] did not give.
pub fn no_field<S: Source>(_: S) -> Result<(), S::Error> {
    Ok(())
}

/// A field that was read, or is absent.
pub fn finish<T: Data>(read: Option<T>, name: &'static str) -> Result<T, &'static str> {
    read.or_else(T::absent).ok_or(name)
}

/// One field, unless it is absent.
pub fn write_field<S: SerializeStruct, T: Data>(
    out: &mut S,
    name: &'static str,
    value: &T,
) -> Result<(), S::Error> {
    if value.is_absent() { out.skip_field(name) } else { out.serialize_field(name, value) }
}

/// The whole object.
pub fn write_object<T: Object, S: Serializer>(
    object: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_struct(T::NAME, T::COUNT)?;
    object.write(&mut out)?;
    out.end()
}

/// An object's schema, without its doc comment: that describes the event or command, not each place
/// where it stands.
pub fn object_schema<T: Object>(place: Usage) -> Schema {
    let mut fields = Fields::default();
    T::describe(place, &mut fields);
    fields.schema()
}

/// Reads an object as it is stored: unknown, missing and repeated fields are refused, and the first
/// thing that is wrong ends it.
pub fn object<'de, T: Object, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut draft = T::Draft::default();
        let mut seen = 0_u128;
        while let Some(name) = map.next_key_seed(Name::<T>(PhantomData))? {
            let index = name.map_err(|name| {
                de::Error::custom(format!("unknown field `{name}`, expected {}", names::<T>()))
            })?;
            let bit = u32::try_from(index).ok().and_then(|at| 1_u128.checked_shl(at)).unwrap_or(0);
            if seen & bit != 0 {
                return Err(de::Error::duplicate_field(T::field(index).name));
            }
            seen |= bit;
            T::take(&mut draft, index, Next(&mut map, PhantomData))?;
        }
        T::finish(draft).map_err(de::Error::missing_field)
    }
}

fn names<T: Object>() -> String {
    let names: Vec<_> = (0..T::COUNT).map(|index| format!("`{}`", T::field(index).name)).collect();
    if names.is_empty() { "none".to_owned() } else { format!("one of {}", names.join(", ")) }
}

/// A field's name as its number; `Err`: there is no such field.
struct Name<T>(PhantomData<T>);

impl<'de, T: Object> DeserializeSeed<'de> for Name<T> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<T: Object> Visitor<'_> for Name<T> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(T::find(name).ok_or_else(|| name.to_owned()))
    }
}

/// The value after a name.
struct Next<'a, 'de, A>(&'a mut A, PhantomData<&'de ()>);

impl<'de, A: MapAccess<'de>> Source for Next<'_, 'de, A> {
    type Error = A::Error;

    fn read<T: Data>(
        self,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Result<Option<T>, A::Error> {
        let value = self.0.next_value_seed(Present(PhantomData))?;
        check(&value).map_err(de::Error::custom)?;
        Ok(Some(value))
    }
}

struct Present<T>(PhantomData<T>);

impl<'de, T: Data> DeserializeSeed<'de> for Present<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::present(deserializer)
    }
}
