//! Where the frames that a terminal sends begin and end, by their headers as they pass.

/// Follows the bytes of a stream of frames.
#[derive(Default)]
pub(crate) struct Boundary {
    /// The bytes of the present header so far.
    header: [u8; 10],
    header_len: u8,
    /// What is left of the present frame behind those bytes.
    left: u64,
    /// A message is under way of which not all frames have come.
    fragmented: bool,
    largest: u64,
    /// Frames without a mask. A terminal sends none.
    bare: u8,
}

/// What a proxy writes towards a server whose connections it gives up, as if it spoke to a terminal:
/// Close 1001 without a mask. Caddy does so at a reload, up to 2.6.2.
const FAREWELL: [u8; 4] = [0x88, 2, 0x03, 0xe9];

impl Boundary {
    /// All bytes so far are whole frames, and those are whole messages.
    pub(crate) const fn is_at_rest(&self) -> bool {
        self.header_len == 0 && self.left == 0 && !self.fragmented
    }

    /// The largest frame so far, in bytes.
    pub(crate) const fn largest(&self) -> u64 {
        self.largest
    }

    /// The last frame was the farewell of a proxy, and all before it had masks.
    pub(crate) fn is_farewell(&self) -> bool {
        let is_complete = self.header_len == 0 && self.left == 0;
        is_complete && self.bare == 1 && self.header.starts_with(&FAREWELL)
    }

    /// Takes the next bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let part = bytes
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                if self.header.starts_with(&FAREWELL[..2]) {
                    // Its two bytes are kept behind its header.
                    let rest = &mut self.header[FAREWELL.len() - self.left as usize..];
                    rest[..part].copy_from_slice(&bytes[..part]);
                }
                self.left -= part as u64;
                bytes = &bytes[part..];
                continue;
            }
            self.header[usize::from(self.header_len)] = bytes[0];
            self.header_len += 1;
            bytes = &bytes[1..];
            if usize::from(self.header_len) == self.header_target() {
                self.begin();
            }
        }
    }

    /// Bytes up to the mask: they say how long the frame is.
    const fn header_target(&self) -> usize {
        if self.header_len < 2 {
            return 2;
        }
        match self.header[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn begin(&mut self) {
        let header = &self.header;
        let length = match header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => header[2..]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
            length => u64::from(length),
        };
        let mask = if header[1] & 0x80 == 0 {
            self.bare = self.bare.saturating_add(1);
            0
        } else {
            4
        };
        let (is_final, is_control) = (header[0] & 0x80 != 0, header[0] & 0x08 != 0);
        if !is_control {
            self.fragmented = !is_final;
        }
        self.left = length.saturating_add(mask);
        self.largest = self.largest.max(length);
        self.header_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_rests_between_messages_only() {
        let frames: [(&[u8], bool); 5] = [
            (&[0x81, 0x83, 1, 2, 3, 4, b'a', b'b', b'c'], true),
            (&[0x01, 0x80, 1, 2, 3, 4], false),
            (&[0x89, 0x80, 1, 2, 3, 4], false),
            (&[0x80, 0x80, 1, 2, 3, 4], true),
            (&[0x82, 0x00], true),
        ];
        let mut boundary = Boundary::default();
        for (frame, rests) in frames {
            for (index, byte) in frame.iter().enumerate() {
                boundary.pass(&[*byte]);
                let last = index + 1 == frame.len();
                assert_eq!(boundary.is_at_rest(), last && rests, "{frame:?} at {index}");
            }
        }
        assert_eq!(boundary.largest(), 3);
    }

    #[test]
    fn only_a_close_of_1001_that_is_the_first_frame_without_a_mask_is_a_farewell() {
        let masked: &[u8] = &[0x82, 0xfe, 0x03, 0xe9];
        let masked = [masked, &[0; 4 + 0x03e9]].concat();
        let cases: [(&[&[u8]], bool); 9] = [
            (&[&FAREWELL], true),
            (&[&masked, &FAREWELL], true),
            (&[&[0x01, 0x80, 1, 2, 3, 4], &FAREWELL], true),
            (&[&[0x81, 0], &FAREWELL], false),
            (&[&masked, &FAREWELL[..2]], false),
            (&[&[0x88, 2, 0x03, 0xe8]], false),
            (&[&[0x88, 3, 0x03, 0xe9, b'x']], false),
            (&[&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]], false),
            (&[&[0x88, 0]], false),
        ];
        for (frames, expected) in cases {
            for step in [1, 3, 5000] {
                let mut boundary = Boundary::default();
                for part in frames.concat().chunks(step) {
                    boundary.pass(part);
                }
                assert_eq!(boundary.is_farewell(), expected, "{frames:x?} by {step}");
            }
        }
    }

    #[test]
    fn long_frames_are_measured_by_their_extended_length() {
        for (header, length) in [
            (&[0x82, 0xfe, 0x01, 0x00][..], 256),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0][..], 65536),
        ] {
            let mut boundary = Boundary::default();
            boundary.pass(header);
            boundary.pass(&vec![0; length + 3]);
            assert!(!boundary.is_at_rest());
            boundary.pass(&[0]);
            assert!(boundary.is_at_rest());
            assert_eq!(boundary.largest(), length as u64);
        }
    }
}
