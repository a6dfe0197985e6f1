//! How messages are written to and read from a stream: as `tonic` does it by default, but with small buffers. A call has three
//! streams and each keeps a buffer either way for as long as it lives, so at a thousand calls the usual 8 KiB are 48 MiB.

use prost::Message;
use std::marker::PhantomData;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a buffer begins with and grows by. The buffers of most streams wait for messages that rarely come; that of caller audio
/// grows once and is then used again for each message.
const BUFFER_BYTES: usize = 128;

/// Messages that are ready at the same time are sent together up to this length. Longer DATA frames, such as a fail-over makes,
/// cost a system call each.
const TOGETHER_BYTES: usize = 1024;

/// Protobuf in small buffers.
#[derive(Debug)]
pub(super) struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER_BYTES, TOGETHER_BYTES))
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER_BYTES, TOGETHER_BYTES))
    }
}
