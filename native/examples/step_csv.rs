// SPDX-License-Identifier: Apache-2.0
//! step_csv.c in Rust, with the few declarations that it needs: sensor | step_csv MODEL.tflite
//!
//!     rustc -O native/examples/step_csv.rs -L FOLDER -l edgestep
use std::alloc::{alloc, dealloc, Layout};
use std::ffi::{c_char, c_int, c_void, CStr};
use std::io::{self, BufRead, Write};

#[repr(C)]
struct EsModel {
    _private: [u8; 0],
}
#[repr(C)]
struct EsStream {
    _private: [u8; 0],
}

const OK: c_int = 0;
const NO_ANSWER: c_int = 5;
const MESSAGE_BYTES: usize = 256;
const ALIGNMENT: usize = 64;

extern "C" {
    fn es_load(file: *const c_void, bytes: usize, model: *mut *mut EsModel, why: *mut c_char) -> c_int;
    fn es_free(model: *mut EsModel);
    fn es_stream_bytes(model: *const EsModel) -> usize;
    fn es_open(model: *const EsModel, block: *mut c_void) -> *mut EsStream;
    fn es_input_values(model: *const EsModel) -> usize;
    fn es_output_values(model: *const EsModel) -> usize;
    fn es_step(stream: *mut EsStream, inputs: *const f32, outputs: *mut f32) -> c_int;
}

/// A model with one stream. A stream belongs to one thread at a time, as raw pointers do in Rust.
struct Stepper {
    model: *mut EsModel,
    stream: *mut EsStream,
    block: *mut u8,
    layout: Layout,
    inputs: usize,
    outputs: Vec<f32>,
}

impl Stepper {
    fn load(file: &[u8]) -> Result<Stepper, String> {
        let mut model = std::ptr::null_mut();
        let mut why = [0 as c_char; MESSAGE_BYTES];
        unsafe {
            if es_load(file.as_ptr().cast(), file.len(), &mut model, why.as_mut_ptr()) != OK {
                return Err(CStr::from_ptr(why.as_ptr()).to_string_lossy().into_owned());
            }
            let layout = Layout::from_size_align(es_stream_bytes(model), ALIGNMENT)
                .map_err(|error| error.to_string())?;
            let block = alloc(layout);
            if block.is_null() {
                es_free(model);
                return Err("there is no memory for a stream".into());
            }
            let stream = es_open(model, block.cast());
            let (inputs, outputs) = (es_input_values(model), vec![0.0; es_output_values(model)]);
            Ok(Stepper { model, stream, block, layout, inputs, outputs })
        }
    }

    /// None at a frame that a model with a window gives nothing for.
    fn step(&mut self, x: &[f32]) -> Result<Option<&[f32]>, String> {
        if x.len() != self.inputs {
            return Err(format!("{} values; the model takes {}", x.len(), self.inputs));
        }
        match unsafe { es_step(self.stream, x.as_ptr(), self.outputs.as_mut_ptr()) } {
            OK => Ok(Some(&self.outputs)),
            NO_ANSWER => Ok(None),
            status => Err(format!("a value is not finite (status {status})")),
        }
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        unsafe {
            dealloc(self.block, self.layout);
            es_free(self.model);
        }
    }
}

fn run() -> Result<(), String> {
    let path = std::env::args().nth(1).ok_or("usage: step_csv MODEL")?;
    let file = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let mut stepper = Stepper::load(&file).map_err(|why| format!("{path}: {why}"))?;
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let x: Result<Vec<f32>, _> = line.split(',').map(|value| value.trim().parse()).collect();
        if let Some(y) = stepper.step(&x.map_err(|error| format!("{line}: {error}"))?)? {
            let row: Vec<String> = y.iter().map(|value| value.to_string()).collect();
            writeln!(output, "{}", row.join(",")).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn main() {
    if let Err(why) = run() {
        eprintln!("{why}");
        std::process::exit(1);
    }
}
