use std::fs;
use std::sync::Mutex;
use std::thread;

use super::*;

/// Builds the smallest component with the real toolchain, for several at once, and then again elsewhere.
#[test]
fn a_component_is_built_once_and_is_always_the_same() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let told = Mutex::new(Vec::new());
    let pause = |root: &Path| {
        let progress = |line: &str| told.lock().unwrap().push(line.to_owned());
        let cache = Cache::at(root).unwrap();
        let artifacts = Artifacts::ensure_in(&cache, &[Component::Pause], &Vec::new, &progress).unwrap();
        let [image] = &artifacts.images()[..] else { panic!("{artifacts:?}") };
        assert!(artifacts.program("kubelet").is_err());
        image.clone()
    };
    let built = || told.lock().unwrap().iter().filter(|line| line.starts_with("pause: built in")).count();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| pause(roots[0].path()));
        }
    });
    assert_eq!(built(), 1, "{told:?}");
    let lines = told.lock().unwrap().len();
    let first = pause(roots[0].path());
    assert_eq!(told.lock().unwrap().len(), lines, "what is there needs no word: {told:?}");
    let second = pause(roots[1].path());
    assert_eq!(built(), 2, "{told:?}");
    assert_ne!(first, second);
    assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap(), "two builds of the same sources differ");
}
