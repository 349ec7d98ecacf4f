//! All scenarios, in one binary so that they are linked once; a module for each subject.
