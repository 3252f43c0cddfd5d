//! What the allocator holds and nobody uses.

/// Gives memory that was freed back to the system. The allocator keeps it for the next need, which
/// after a burst (a configuration was read) may not come for days. Takes about a millisecond; does
/// nothing where the C library is not glibc.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #![expect(unsafe_code, reason = "malloc_trim is a C function")]
        // SAFETY: it takes a number, may be called from any thread at any time, and touches only
        // memory that is free.
        let released = unsafe { libc::malloc_trim(0) };
        tracing::trace!(released, "memory was given back");
    }
}

/// Lets go of the pages of the program's own file that are mapped now: code, and data that never
/// changes. What is used again is mapped again from the system's cache of files; what was used only at
/// the start stays away, which is most of what a small proxy is charged for. Does nothing outside Linux.
pub fn let_go_of_program() {
    #[cfg(target_os = "linux")]
    {
        let (Ok(maps), Ok(program)) =
            (std::fs::read_to_string("/proc/self/smaps"), std::fs::read_link("/proc/self/exe"))
        else {
            return;
        };
        for mapping in unchanged(&maps, &program.to_string_lossy()) {
            let_go(mapping);
        }
    }
}

/// The parts of a file that nobody can write to, and of which no page was ever written to since the file
/// was mapped (the linker writes to some before it protects them), by `/proc/self/smaps`.
#[cfg(target_os = "linux")]
fn unchanged(maps: &str, file: &str) -> Vec<std::ops::Range<usize>> {
    let mut unchanged = Vec::new();
    let mut current = None;
    for line in maps.lines() {
        if let Some((range, permissions, path)) = mapping(line) {
            let is_fixed =
                path == file && permissions.starts_with('r') && !permissions.contains('w');
            current = is_fixed.then_some(range);
        } else if let Some(written) = line.strip_prefix("Anonymous:")
            && let Some(range) = current.take()
            && written.trim() == "0 kB"
        {
            unchanged.push(range);
        }
    }
    unchanged
}

/// Range, permissions and path, of a line that begins a mapping.
#[cfg(target_os = "linux")]
fn mapping(line: &str) -> Option<(std::ops::Range<usize>, &str, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (permissions, rest) = rest.split_once(' ')?;
    // Offset, device, inode, and then the path, which may have blanks in it.
    let path = rest.splitn(4, ' ').nth(3)?.trim_start();
    Some((address(start)?..address(end)?, permissions, path))
}

#[cfg(target_os = "linux")]
fn let_go(mapping: std::ops::Range<usize>) {
    #![expect(unsafe_code, reason = "madvise is a C function")]
    let start = std::ptr::with_exposed_provenance_mut(mapping.start);
    // SAFETY: the range is one whole mapping of the program's file, which cannot be written to and of
    // which no page differs from the file: they come back with the same bytes when they are used.
    if unsafe { libc::madvise(start, mapping.len(), libc::MADV_DONTNEED) } != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the program stays mapped");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_to_is_let_go_of() {
        let maps = "\
1000-2000 r--p 00000000 fe:00 12    /opt/a b/iako
Anonymous:             0 kB
2000-5000 r-xp 00001000 fe:00 12    /opt/a b/iako
Rss:                   4 kB
Anonymous:             0 kB
5000-6000 r--p 00004000 fe:00 12    /opt/a b/iako
Anonymous:             4 kB
6000-7000 rw-p 00005000 fe:00 12    /opt/a b/iako
Anonymous:             0 kB
7000-8000 rw-p 00000000 00:00 0
Anonymous:             0 kB
8000-9000 r-xp 00000000 fe:00 13    /lib/libc.so.6
Anonymous:             0 kB
";
        assert_eq!(unchanged(maps, "/opt/a b/iako"), [0x1000..0x2000, 0x2000..0x5000]);
        assert_eq!(unchanged("nonsense", "nonsense"), []);
    }

    #[test]
    fn the_program_runs_on_after_it_was_let_go_of() {
        static WRITTEN: [u8; 4] = *b"text";
        let_go_of_program();
        assert_eq!(std::hint::black_box(WRITTEN), *b"text");
    }
}
