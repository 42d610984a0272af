//! Frames out of and into a stream of bytes.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::connection::limits::{Limits, count, duration};

const START: u8 = 0x0B;
const END: u8 = 0x1C;
const RETURN: u8 = b'\r';

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Bytes before the start of a frame.
    Outside,
    /// A frame begins inside another: the end of the first was lost.
    Unclosed,
    /// The end byte is not followed by a carriage return.
    EndBare,
    /// More bytes than `mllp_frame_bytes_max`.
    TooLong,
    /// Not whole within `mllp_frame_ms`.
    TooSlow,
}

/// The frames of one connection.
pub(super) struct Frames<S> {
    stream: S,
    buffer: BytesMut,
    bytes_max: usize,
    frame: Duration,
    idle: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub(super) fn new(stream: S, limits: &Limits) -> Frames<S> {
        Frames {
            stream,
            buffer: BytesMut::new(),
            bytes_max: count(limits.mllp_frame_bytes_max),
            frame: duration(limits.mllp_frame_ms),
            idle: duration(limits.mllp_idle_ms),
        }
    }

    /// Waits for the first byte of the next frame, at most `mllp_idle_ms`; line ends between frames are nothing. Whether one
    /// came. Stopping to wait loses nothing.
    pub(super) async fn begin(&mut self) -> bool {
        loop {
            while self.buffer.first().is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                self.buffer.advance(1);
            }
            if !self.buffer.is_empty() {
                return true;
            }
            match timeout(self.idle, self.stream.read_buf(&mut self.buffer)).await {
                Ok(Ok(read)) if read > 0 => {}
                _ => return false,
            }
        }
    }

    /// The message of the frame that has begun; `None` when the stream ends before it does.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, Broken> {
        let (limit, within) = (self.bytes_max, self.frame);
        let whole = async {
            let mut looked = 1;
            loop {
                match self.buffer.first() {
                    Some(&START) => {}
                    _ => return Err(Broken::Outside),
                }
                let rest = self.buffer.get(looked..).unwrap_or_default();
                match rest.iter().position(|b| matches!(*b, START | END)) {
                    Some(at) if rest.get(at) == Some(&START) => return Err(Broken::Unclosed),
                    Some(at) => match self.buffer.get(looked + at + 1) {
                        Some(&RETURN) => {
                            let mut frame = self.buffer.split_to(looked + at + 2);
                            frame.advance(1);
                            frame.truncate(frame.len() - 2);
                            return Ok(Some(frame.freeze()));
                        }
                        Some(_) => return Err(Broken::EndBare),
                        None => looked += at,
                    },
                    None => looked = self.buffer.len(),
                }
                if self.buffer.len() > limit {
                    return Err(Broken::TooLong);
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(read) if read > 0 => {}
                    _ => return Ok(None),
                }
            }
        };
        timeout(within, whole).await.unwrap_or(Err(Broken::TooSlow))
    }

    /// Writes an answer; whether the other side took it within `mllp_frame_ms`.
    pub(super) async fn answer(&mut self, answer: &[u8]) -> bool {
        let frame = framed(answer);
        let write = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        matches!(timeout(self.frame, write).await, Ok(Ok(())))
    }

    /// Closes in good order, as far as the other side goes along.
    pub(super) async fn end(&mut self) {
        let _ = timeout(self.frame, self.stream.shutdown()).await;
    }
}

/// A message in its frame.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 3);
    frame.push(START);
    frame.extend_from_slice(message);
    frame.extend_from_slice(&[END, RETURN]);
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    async fn read(chunks: &[&[u8]], limits: &Limits) -> Vec<Result<Option<Bytes>, Broken>> {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let mut frames = Frames::new(far, limits);
        for chunk in chunks {
            near.write_all(chunk).await.unwrap();
        }
        drop(near);
        let mut found = Vec::new();
        while frames.begin().await {
            let next = frames.read().await;
            let ended = !matches!(next, Ok(Some(_)));
            found.push(next);
            if ended {
                break;
            }
        }
        found
    }

    #[tokio::test]
    async fn frames_are_found_wherever_the_stream_is_cut() {
        let whole = [framed(b"MSH|1"), b"\r\n".to_vec(), framed(b"MSH|2")].concat();
        for cut in 0..whole.len() {
            let (one, two) = whole.split_at(cut);
            let found = read(&[one, two], &Limits::default()).await;
            assert_eq!(found, [Ok(Some("MSH|1".into())), Ok(Some("MSH|2".into()))], "{cut}");
        }
    }

    #[tokio::test]
    async fn broken_frames_are_told_apart() {
        let limits = Limits { mllp_frame_bytes_max: 1024, ..Limits::default() };
        let long = framed(&[b'x'; 2000]);
        for (bytes, why) in [
            (&b"MSH|"[..], Err(Broken::Outside)),
            (b"\x0bMSH|\x0bMSH|\x1c\r", Err(Broken::Unclosed)),
            (b"\x0bMSH|\x1cx", Err(Broken::EndBare)),
            (b"\x0bMSH|", Ok(None)),
            (b"\x0bMSH|\x1c", Ok(None)),
        ] {
            assert_eq!(read(&[bytes], &limits).await, [why], "{bytes:?}");
        }
        assert_eq!(read(&[&long[..1500]], &limits).await, [Err(Broken::TooLong)]);
    }

    #[tokio::test]
    async fn a_frame_that_does_not_come_whole_in_time_is_too_slow() {
        let (mut near, far) = tokio::io::duplex(64);
        let limits = Limits { mllp_frame_ms: 100, ..Limits::default() };
        let mut frames = Frames::new(far, &limits);
        near.write_all(b"\x0bMSH").await.unwrap();
        assert!(frames.begin().await);
        assert_eq!(frames.read().await, Err(Broken::TooSlow));
    }
}
