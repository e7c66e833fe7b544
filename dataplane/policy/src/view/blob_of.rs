//! A blob whose kind was checked, with its content. For what a view has one of: what it has thousands of is compiled, and the blob alone kept.

use std::marker::PhantomData;
use std::ops::Deref;

use ringway_config::Blob;
use ringway_config::model::{ListenerSet, Model, PolicySet};

/// A blob that holds an `M`. Cloning shares it.
pub struct BlobOf<M> {
    blob: Blob,
    kind: PhantomData<M>,
}

/// One kind of blob content.
pub trait Content: Sized {
    /// Of a model, if it is of this kind.
    fn of(model: &Model) -> Option<&Self>;
}

impl<M: Content> BlobOf<M> {
    /// None when the blob is of another kind.
    pub fn new(blob: &Blob) -> Option<BlobOf<M>> {
        M::of(blob.model())?;
        Some(BlobOf { blob: blob.clone(), kind: PhantomData })
    }

    /// The blob.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }
}

impl<M: Content> Deref for BlobOf<M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        M::of(self.blob.model()).expect("the kind was checked by BlobOf::new")
    }
}

impl<M> Clone for BlobOf<M> {
    fn clone(&self) -> BlobOf<M> {
        BlobOf { blob: self.blob.clone(), kind: PhantomData }
    }
}

macro_rules! content {
    ($($variant:ident($type:ty)),*) => { $(
        impl Content for $type {
            #[inline]
            fn of(model: &Model) -> Option<&$type> {
                match model {
                    Model::$variant(content) => Some(content),
                    _ => None,
                }
            }
        }
    )* };
}

content!(Listeners(ListenerSet), Policy(PolicySet));
