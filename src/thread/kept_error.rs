//! The program's own error in a failure, kept with its type, so that the program can take it out
//! again.

use std::any::Any;
use std::error::Error;
use std::fmt;

pub(super) type Boxed = Box<dyn Error + Send + Sync>;

/// An `anyhow::Error`, kept as it is: the box that it turns into hides the type of the error in it.
struct Anyhow(anyhow::Error);

impl fmt::Display for Anyhow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Anyhow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Error for Anyhow {
    /// The error itself, which the text of this one begins with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// `error` in a box, with its type.
pub(crate) fn boxed<E: Into<Boxed> + 'static>(error: E) -> Boxed {
    let mut error = Some(error);
    let any: &mut dyn Any = &mut error;
    if let Some(error) = any.downcast_mut::<Option<anyhow::Error>>().and_then(Option::take) {
        return Box::new(Anyhow(error));
    }
    match error {
        Some(error) => error.into(),
        None => unreachable!("only an anyhow::Error was taken out"),
    }
}

/// The error in the box, if it is an `E`, or an `anyhow::Error` with an `E` in it.
pub(super) fn downcast<E: Error + Send + Sync + 'static>(error: Boxed) -> Result<E, Boxed> {
    let error = match error.downcast::<E>() {
        Ok(error) => return Ok(*error),
        Err(error) => error,
    };
    let Anyhow(error) = *error.downcast::<Anyhow>()?;
    error.downcast::<E>().map_err(boxed)
}

/// [`downcast`], by reference.
pub(super) fn downcast_ref<'a, E>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a E>
where
    E: Error + Send + Sync + 'static,
{
    error.downcast_ref::<E>().or_else(|| error.downcast_ref::<Anyhow>()?.0.downcast_ref::<E>())
}

/// The texts of the errors that stand above an `E` which [`downcast`] finds: contexts of anyhow.
/// `None` if it finds none.
pub(super) fn above<E: Error + Send + Sync + 'static>(
    error: &(dyn Error + Send + Sync + 'static),
) -> Option<Vec<String>> {
    downcast_ref::<E>(error)?;
    let mut texts = Vec::new();
    let mut next = Some(own(error));
    while let Some(error) = next.filter(|error| !error.is::<E>()) {
        texts.push(error.to_string());
        next = error.source();
    }
    Some(texts)
}

/// The program's own error, without the box's wrapping.
pub(super) fn own<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> &'a (dyn Error + 'static) {
    match error.downcast_ref::<Anyhow>() {
        Some(Anyhow(error)) => error.as_ref(),
        None => error,
    }
}
